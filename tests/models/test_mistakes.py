"""Every mistake is told when the distiller is built, by name and with its cure."""
import copy

import pytest
import torch

from mmkd.registry import MODELS
from tests.helpers import build, make_batch, save_teacher, tiny_distiller, tiny_segmentor

KD = dict(type='mmkd.KDLoss')


class AsksForDepth(torch.nn.Module):
    def forward(self, student, teacher, depth):
        return student.mean()


def term(**changes):
    cfg = {**dict(tap='logits', loss=KD, weight=1.), **changes}
    return dict(logits={key: value for key, value in cfg.items() if value is not ...})


def message_of(error=ValueError, **changes):
    cfg = copy.deepcopy(tiny_distiller(changes.pop('distillations', term())))
    for key, value in changes.items():
        if isinstance(value, dict) and key == 'teacher':
            cfg['teacher'].update(value)
            cfg['teacher'] = {k: v for k, v in cfg['teacher'].items() if v is not ...}
        else:
            cfg[key] = value
    with pytest.raises(error) as info:
        MODELS.build(cfg)
    return str(info.value)


#: id: (terms, what the message must say: the term, the key, the cure)
TERM_MISTAKES = dict(
    unknown_tap=(term(tap='decode_head.conv_sge'),
                 ["term 'logits'", "student tap 'decode_head.conv_sge'",
                  "did you mean 'decode_head.conv_seg'", 'semantic names here: ', 'backbone']),
    unknown_teacher_tap=(term(teacher_tap='decode_head.botleneck'),
                         ["term 'logits'", "teacher tap 'decode_head.botleneck'",
                          "did you mean 'decode_head.bottleneck'"]),
    no_tap_at_all=(term(tap=...), ["term 'logits'", 'no student tap', 'student_tap=']),
    only_one_side=(term(tap=..., student_tap='logits'), ["term 'logits'", 'no teacher tap']),
    tap_is_no_text=(term(tap=5), ["term 'logits'", 'must be a string']),
    tap_in_a_list=(term(tap=['backbone.layer3', 'backbone.layer5']),
                   ["term 'logits'", "no module 'backbone.layer5'"]),
    malformed_tap=(term(tap='a b'), ["term 'logits'", "'a b' is not a tap", ':input']),
    no_map=(term(student_tap='decode_head.loss_decode'),
            ["term 'logits'", "student tap 'decode_head.loss_decode'", 'no map']),
    teacher_tap_never_fires=(term(teacher_tap='decode_head.loss_decode'),
                             ["term 'logits'", "teacher tap 'decode_head.loss_decode'",
                              'never fires in a forward of the teacher']),
    fires_often=(term(student_tap='backbone.layer4.0.relu'),
                 ["term 'logits'", "'backbone.layer4.0.relu'", 'called 2 times', 'choose a call',
                  "'backbone.layer4.0.relu[0]'"]),
    no_single_tensor=(term(student_tap='backbone.layer4[0]'), ["term 'logits'", 'drop the [0]']),
    no_such_name=(term(tap='neck'), [
        "term 'logits'", "FCNHead on ResNetV1c has no 'neck' (the neck's output",
        'it has logits, head, backbone', 'Models that have it: those with a neck']),
    loss_asks_for_what_is_not_there=(term(loss=dict(type=AsksForDepth)),
                                     ["term 'logits'", "asks for 'depth'", 'a loss can ask for',
                                      'labels', 'metas', 'progress']),
    unknown_term_key=(term(weigth=3.), ["term 'logits'", "'weigth'", "did you mean 'weight'"]),
    unknown_loss_argument=(term(loss=dict(type='mmkd.KDLoss', taus=1)),
                           ["term 'logits'", "loss: KDLoss has no argument 'taus'",
                            "did you mean 'tau'"]),
    unknown_connector_argument=(
        term(student_connector=dict(type='mmkd.ConvConnector', kernel=3)),
        ["term 'logits'", "student_connector: ConvConnector has no argument 'kernel'",
         'kernel_size']),
    unknown_loss=(term(loss=dict(type='mmkd.KDLos')),
                  ["term 'logits'", "'mmkd.KDLos' is not registered", "'mmkd.KDLoss'",
                   'custom_imports']),
    loss_without_type=(term(loss=dict(tau=1)), ["term 'logits'", 'needs loss=dict(type=']),
    no_loss=(term(loss=...), ["term 'logits'", 'needs loss=']),
    bad_loss_value=(term(loss=dict(type='mmkd.KDLoss', tau=-1)), ["term 'logits'", 'tau=-1']),
    weight_zero=(term(weight=0), ["term 'logits'", 'weight is 0', 'logits=None']),
    weight_nan=(term(weight=float('nan')), ["term 'logits'", 'weight must be a finite number']),
    weight_text=(term(weight='3'), ["term 'logits'", "weight must be a finite number, not '3'"]),
    weight_true=(term(weight=True), ["term 'logits'", 'not True']),
    unknown_schedule=(term(schedule=dict(type='cosin')),
                      ["term 'logits'", "schedule type 'cosin'", "did you mean 'cosine'"]),
    schedule_argument=(term(schedule=dict(type='linear', ends=3)),
                       ["term 'logits'", "no argument 'ends'", "did you mean 'end'"]),
    schedule_is_no_dict=(term(schedule='linear'), ["term 'logits'", "dict(type='linear')"]),
    unknown_teacher_name=(term(teacher='big'), ["term 'logits'", "no teacher 'big'"]),
    term_is_no_dict=(dict(logits=3), ["term 'logits'", 'must be a dict']),
    name_is_none=({'lo gits': term()['logits']}, ["term 'lo gits'", 'letters, digits']),
    unequal_channels=(term(tap='head', loss=dict(type='mmkd.FitNetLoss')),
                      ["term 'logits'", 'student gives 8', 'teacher 12', 'student_connector',
                       'mmkd.ConvConnector']),
    no_terms=(dict(), ['distillations', 'with one at least']),
    all_terms_removed=(dict(logits=None), ['distillations', 'with one at least']),
    terms_as_a_list=([term()['logits']], ['distillations must be a dict of terms by name']),
)


@pytest.mark.parametrize('mistake', TERM_MISTAKES)
def test_terms(mistake):
    distillations, parts = TERM_MISTAKES[mistake]
    message = message_of(distillations=distillations)
    for part in parts:
        assert part in message


def test_class_counts_that_differ():
    for loss in (KD, dict(type='mmkd.CWDLoss')):
        message = message_of(distillations=term(loss=loss), teacher=dict(
            config=tiny_segmentor('PSPHead', 12, num_classes=6)))
        for part in ("term 'logits'", 'student gives 4', 'teacher 6',
                     'different number of classes', 'trained on the same classes'):
            assert part in message


def test_teacher_without_weights():
    message = message_of(teacher=dict(allow_random=...))
    for part in ('teacher has no weights', 'checkpoint=', 'allow_random=True'):
        assert part in message


def test_missing_keys_and_other_shapes_are_listed(tmp_path):
    config, checkpoint = save_teacher(tmp_path)
    loaded = torch.load(checkpoint)
    loaded['state_dict'].pop('decode_head.conv_seg.bias')
    loaded['state_dict']['decode_head.conv_seg.weight'] = torch.zeros(9, 12, 1, 1)
    loaded['state_dict']['head.extra'] = torch.zeros(1)
    torch.save(loaded, checkpoint)
    message = message_of(teacher=dict(config=config, checkpoint=checkpoint))
    for part in ('teacher', checkpoint, '1 keys are missing: decode_head.conv_seg.bias',
                 'decode_head.conv_seg.weight ((9, 12, 1, 1) in the file, (4, 12, 1, 1)',
                 'head.extra', 'Is it the checkpoint of this config?'):
        assert part in message
    torch.save(dict(state_dict=dict(a=torch.ones(1))), checkpoint)
    assert ' in all)' in message_of(teacher=dict(config=config, checkpoint=checkpoint))
    torch.save(dict(meta='x', state_dict={}), checkpoint)
    assert 'holds no weights (no state_dict; it has meta, state_dict)' in message_of(
        teacher=dict(config=config, checkpoint=checkpoint))


def test_unreadable_checkpoints(tmp_path):
    config, checkpoint = save_teacher(tmp_path)
    data = open(checkpoint, 'rb').read()
    for size in (0, 100, len(data) // 2):
        with open(checkpoint, 'wb') as file:
            file.write(data[:size])
        message = message_of(teacher=dict(config=config, checkpoint=checkpoint))
        for part in ('teacher: ', checkpoint, f'({size} bytes)', 'truncated', 'again'):
            assert part in message
    message = message_of(FileNotFoundError, teacher=dict(
        config=config, checkpoint=checkpoint.replace('.pth', '.ptt')))
    for part in ('teacher: ', 'does not exist', "did you mean 'teacher.p"):
        assert part in message


@pytest.mark.parametrize('key', ['teacher', 'student'])
def test_configs_that_do_not_exist(key):
    for path, cure in (('configs/nowhere/t.py', 'mmseg::'),
                       ('mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscape-512x1024.py',
                        'did you mean')):
        message = message_of(FileNotFoundError, **{key: dict(config=path)})
        for part in (f'{key}: ', path.split('::')[-1], cure):
            assert part in message


@pytest.mark.parametrize('kind', ['nopackage.EncoderDecoder', 'mmseg.EncoderDecodr'])
def test_a_teacher_whose_model_cannot_be_built_is_called_the_teacher(kind):
    message = message_of(teacher=dict(config=dict(tiny_segmentor(), type=kind)))
    for part in ('teacher: its model cannot be built', kind.split('.')[1]):
        assert part in message


@pytest.mark.parametrize('teacher, parts', [
    (dict(chekpoint='a.pth'), ["teacher has no key 'chekpoint'", "did you mean 'checkpoint'"]),
    (dict(config=...), ['teacher needs config=']),
    (dict(dtype='fp8'), ["teacher: dtype 'fp8' is none of", "'bf16'"]),
])
def test_teacher_keys(teacher, parts):
    message = message_of(teacher=teacher)
    for part in parts:
        assert part in message


def test_several_teachers():
    one = dict(config=tiny_segmentor(), allow_random=True)
    cfg = tiny_distiller(term())
    cfg['teacher'] = dict(a=one, b=one)
    with pytest.raises(ValueError, match="term 'logits'.*teacher.*'a', 'b'"):
        MODELS.build(cfg)
    cfg['distillations'] = term(teacher='a')
    with pytest.raises(ValueError, match="teacher 'b' is used by no term; remove it"):
        MODELS.build(cfg)
    cfg['teacher'] = dict(a=one, b=dict(one, allow_random=False))
    with pytest.raises(ValueError, match="teacher 'b' has no weights"):
        MODELS.build(cfg)
    cfg['teacher']['a'] = dict(config='nowhere.py', checkpoint='x.pth')
    with pytest.raises(ValueError) as info:
        MODELS.build(cfg)
    for part in ("teacher 'a': config 'nowhere.py' does not exist", "teacher 'b' has no weights"):
        assert part in str(info.value), 'both are in one message'


def test_several_mistakes_come_in_one_message():
    names = ('unknown_tap', 'weight_zero', 'unknown_loss', 'fires_often', 'unequal_channels',
             'unknown_schedule', 'loss_asks_for_what_is_not_there')
    distillations = {name: TERM_MISTAKES[name][0]['logits'] for name in names}
    message = message_of(distillations=distillations)
    for name in names:
        for part in TERM_MISTAKES[name][1]:
            assert part.replace("'logits'", f"'{name}'").replace(
                'logits=None', f'{name}=None') in message
    assert message.count('\n') == len(names), 'one line each, below a first'


def test_removing_a_term_of_a_recipe_is_no_mistake():
    MODELS.build(tiny_distiller(dict(term(), other=None)))


@pytest.mark.parametrize('owner', ['student', 'teacher'])
def test_a_tap_that_fires_otherwise_than_in_the_dry_run_stops_the_first_step(owner):
    distiller = MODELS.build(tiny_distiller('kd', prune=False))
    model = distiller.student if owner == 'student' else distiller.teachers['teacher'].model
    head, kept = model.decode_head, model.decode_head.forward
    batch = distiller.data_preprocessor(make_batch(), True)
    head.forward = lambda *args: (kept(*args), kept(*args))[1]
    with pytest.raises(RuntimeError) as info:
        distiller(**batch, mode='loss')
    for part in ("terms 'logits'", "'decode_head.conv_seg'", owner, 'fired 2 times',
                 '1 times in the dry run'):
        assert part in str(info.value)


class FailsInForward(torch.nn.Module):
    def forward(self, student, teacher):
        raise RuntimeError('cannot compare these')


def test_a_loss_that_cannot_work_is_told_even_if_it_starts_later():
    cfg = copy.deepcopy(tiny_distiller('kd'))
    cfg['distillations']['logits'].update(
        loss=dict(type=FailsInForward),
        schedule=dict(type='linear', begin=0, end=10, start=0.))  # weight 0 at first
    with pytest.raises(ValueError, match="term 'logits': FailsInForward fails .*cannot compare"):
        build(cfg)
