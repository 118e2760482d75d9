"""All that is wrong comes in one message; what is in the teacher's file; slips in names."""
import copy

import pytest
import torch

from mmkd.registry import MODELS
from tests.helpers import build, save_teacher, tiny_distiller, tiny_segmentor
from tests.models.test_mistakes import message_of, term


def lines_of(**changes):
    return message_of(**changes).splitlines()[1:]


def test_teacher_and_term_mistakes_come_together():
    cfg = copy.deepcopy(tiny_distiller('kd'))
    cfg['teacher'] = dict(cfg['teacher'], allow_random=False)
    cfg['distillations']['logits']['tap'] = 'decode_head.conv_segg'
    with pytest.raises(ValueError) as told:
        build(cfg)
    for part in ('teacher has no weights', 'set checkpoint=', "term 'logits'",
                 "'decode_head.conv_seg'"):
        assert part in str(told.value)


def test_several_mistakes_of_one_term_come_together():
    lines = lines_of(distillations=term(
        weight=0, loss=dict(type='mmkd.KDLoss', taus=1), schedule=dict(type='cosin'), weigth=1,
        student_connector=dict(type='mmkd.ConvConnector', kernel=3), teacher='big',
        student_tap='decode_head.conv_sge', teacher_tap='decode_head.botleneck'))
    parts = ('weight is 0', "no argument 'taus'", "'cosin'", "'weigth'", "no argument 'kernel'",
             "no teacher 'big'", "student tap 'decode_head.conv_sge'")
    for part in parts:
        assert sum(part in line for line in lines) == 1, part
    assert len(lines) == len(parts) and all("term 'logits'" in line for line in lines)


def test_both_taps_and_both_constructors_are_told_together():
    lines = lines_of(distillations=term(student_tap='nope', teacher_tap='neither', weight=0))
    assert len(lines) == 3
    for side, tap in (('student', 'nope'), ('teacher', 'neither')):
        assert any(f"{side} tap '{tap}'" in line for line in lines)
    lines = lines_of(distillations=term(
        loss=dict(type='mmkd.KDLoss', tau=-1),
        student_connector=dict(type='mmkd.ConvConnector', kernel_size=2)))
    assert len(lines) == 2 and any('tau=-1' in line for line in lines)
    assert any('kernel_size=2' in line for line in lines)


def test_config_and_checkpoint_of_a_teacher_are_told_together(tmp_path):
    (tmp_path / 'x.pth').write_text('no checkpoint')
    for checkpoint, part in ((str(tmp_path / 'nowhere.pth'), "nowhere.pth' does not exist"),
                             (str(tmp_path / 'x.pth'), 'not a torch checkpoint')):
        lines = lines_of(teacher=dict(config='nowhere.py', checkpoint=checkpoint, dtype='fp8',
                                      prun=False))
        for wanted in ("config 'nowhere.py' does not exist", part, "dtype 'fp8'", "'prun'"):
            assert sum(wanted in line for line in lines) == 1, wanted
        assert len(lines) == 4


def test_a_student_that_cannot_be_built_hides_nothing():
    lines = lines_of(student=dict(config='nobody.py'), teacher=dict(allow_random=...),
                     distillations=term(weight=0, teacher_tap='neither'))
    for part in ("student: config 'nobody.py'", 'teacher has no weights', 'weight is 0'):
        assert sum(part in line for line in lines) == 1, part


def test_a_student_that_does_not_run_hides_nothing():
    student = tiny_segmentor()
    student['decode_head']['in_channels'] = 7
    lines = lines_of(student=student, distillations=term(weight=0, teacher_tap='neither'))
    for part in ('the student (FCNHead on ResNetV1c) does not run', 'expected', '7 channels',
                 "teacher tap 'neither'", 'weight is 0'):
        assert any(part in line for line in lines), part
    assert len(lines) == 3
    lines = lines_of(student=student, teacher=dict(allow_random=...),
                     distillations=term(loss=dict(type='mmkd.KDLos')))
    for part in ('does not run', 'teacher has no weights', "'mmkd.KDLos' is not registered"):
        assert sum(part in line for line in lines) == 1, part


@pytest.mark.parametrize('slip', [dict(weight=5.), dict(schedule=dict(type='cosine')),
                                  dict(tap='head'), dict(teacher='teacher'), dict(loss=None)])
def test_overriding_a_term_that_does_not_exist(slip):
    lines = lines_of(distillations=dict(term(), logit=slip))
    assert len(lines) == 1
    for part in ("there is no term 'logit'", "did you mean 'logits'?"):
        assert part in lines[0]
    lines = lines_of(distillations=dict(term(), feature=dict(tap='head', weight=5.)))
    for part in ("term 'feature' needs loss=", "the terms with a loss are 'logits'"):
        assert part in lines[0]


def test_a_student_config_takes_no_other_key(tmp_path):
    config, _ = save_teacher(tmp_path)
    message = message_of(student=dict(config=config, checkpoint='a.pth'))
    assert "student has no key 'checkpoint' (it has config)" in message


@pytest.mark.parametrize('loss', [lambda s, t: 0., lambda s, t: [s.mean()], lambda s, t: None,
                                  lambda s, t: dict(a=s.mean(), b=1)])
def test_a_loss_that_gives_no_tensor(loss):
    class Gives(torch.nn.Module):
        def forward(self, student, teacher):
            return loss(student, teacher)
    message = message_of(distillations=term(loss=dict(type=Gives)))
    assert "term 'logits': Gives must return a tensor or a dict of tensors by name" in message


def test_a_class_of_ones_own_is_told_how_it_is_found():
    message = message_of(distillations=term(loss=dict(type='MyLoss')))
    for part in ("custom_imports=dict(imports=['my_loss'])", 'beside the config',
                 'register_module'):
        assert part in message


# ---- what is in the teacher's file ------------------------------------------------------
@pytest.mark.parametrize('key', ['decode_head.conv_seg.bias', 'backbone.layer4.1.bn2.running_var'])
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_values_that_are_not_finite_are_named(tmp_path, key, value):
    config, checkpoint = save_teacher(tmp_path)
    loaded = torch.load(checkpoint)
    loaded['state_dict'][key][1] = value
    torch.save(loaded, checkpoint)
    message = message_of(teacher=dict(config=config, checkpoint=checkpoint))
    for part in ('teacher: ', checkpoint, 'NaN or infinite', f'{key} (1 of '):
        assert part in message


@pytest.mark.parametrize('value, part', [
    (torch.full((4,), 1e300, dtype=torch.float64), 'holds NaN or infinite values: {} (4 of 4'),
    (torch.zeros(4, dtype=torch.int8), '{} (torch.int8 in the file, torch.float32 in the model)'),
    (torch.zeros(4, dtype=torch.complex64), '{} (torch.complex64 in the file'),
    ([0.] * 4, '1 keys are missing: {}'), (None, '1 keys are missing: {}')])
def test_values_that_would_become_others_are_named(tmp_path, value, part):
    config, checkpoint = save_teacher(tmp_path)
    loaded, key = torch.load(checkpoint), 'decode_head.conv_seg.bias'
    loaded['state_dict'][key] = value
    torch.save(loaded, checkpoint)
    message = message_of(teacher=dict(config=config, checkpoint=checkpoint))
    assert 'teacher: ' in message and part.format(key) in message


@pytest.mark.parametrize('prefix', ['model.', 'teacher.', 'net.encoder.'])
def test_what_stands_in_front_of_all_keys_is_named(tmp_path, prefix):
    config, checkpoint = save_teacher(tmp_path)
    state = torch.load(checkpoint)['state_dict']
    torch.save({**{prefix + key: value for key, value in state.items()}, 'other': torch.ones(1)},
               checkpoint)
    assert f'every key of the file has {prefix!r} in front' in message_of(
        teacher=dict(config=config, checkpoint=checkpoint))


def test_the_keys_of_a_file_without_weights_are_named(tmp_path):
    config, checkpoint = save_teacher(tmp_path)
    torch.save(dict(epoch=3, net=torch.load(checkpoint)['state_dict']), checkpoint)
    message = message_of(teacher=dict(config=config, checkpoint=checkpoint))
    assert 'teacher: ' in message
    assert 'holds no weights (no state_dict; it has epoch, net)' in message


def test_step_counters_may_be_missing_and_nothing_else(tmp_path):
    config, checkpoint = save_teacher(tmp_path)
    loaded = torch.load(checkpoint)
    state = loaded['state_dict']
    for key in [key for key in state if key.endswith('num_batches_tracked')]:
        del state[key]
    torch.save(loaded, checkpoint)
    cfg = copy.deepcopy(tiny_distiller(term()))
    cfg['teacher'].update(config=config, checkpoint=checkpoint)
    teacher = MODELS.build(cfg).teachers['teacher'].model.state_dict()
    assert all(torch.equal(teacher[key], value) for key, value in state.items())
    del state['backbone.layer4.1.bn2.running_mean']
    torch.save(loaded, checkpoint)
    message = message_of(teacher=dict(config=config, checkpoint=checkpoint))
    assert '1 keys are missing: backbone.layer4.1.bn2.running_mean' in message
