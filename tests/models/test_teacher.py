"""The teacher: frozen, outside the module tree, exact when pruned."""
import copy

import pytest
import torch
from mmengine.config import Config

from mmkd.models.preprocessing import same_preprocessing
from mmkd.models.taps import Source
from mmkd.models.teacher import Teacher, build_teacher
from mmkd.registry import MODELS
from tests.helpers import (
    build,
    make_batch,
    preprocessor,
    random_bn,
    save_teacher,
    tiny_distiller,
    tiny_segmentor,
)

FEATURE = dict(f=dict(tap='backbone', weight=1., loss=dict(type='mmkd.ATLoss')))


@pytest.fixture
def distiller(tmp_path):
    config, checkpoint = save_teacher(tmp_path)
    cfg = tiny_distiller('kd', checkpoint=checkpoint)
    cfg['teacher']['config'] = config
    return build(cfg)


def the_teacher(distiller):
    return next(iter(distiller.teachers.values()))


def batch_of(distiller, **kwargs):
    return distiller.data_preprocessor(make_batch(**kwargs), True)


def test_weights_are_those_of_the_file_and_frozen(distiller, tmp_path):
    teacher = the_teacher(distiller)
    saved = torch.load(tmp_path / 'teacher.pth')['state_dict']
    for key, value in teacher.model.state_dict().items():
        assert torch.equal(value, saved[key])
    assert not any(p.requires_grad for p in teacher.model.parameters())
    distiller.train()
    assert not any(module.training for module in teacher.model.modules())
    before = copy.deepcopy(teacher.model.state_dict())
    losses = distiller(**batch_of(distiller), mode='loss')
    sum(value.mean() for key, value in losses.items() if 'loss' in key).backward()
    assert all(p.grad is None for p in teacher.model.parameters())
    for key, value in teacher.model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_it_is_no_module_of_the_distiller(distiller):
    inside = set(map(id, the_teacher(distiller).model.modules()))
    assert not inside & set(map(id, distiller.modules()))
    assert not any(key.startswith('teacher') for key in distiller.state_dict())
    own = {id(p) for p in the_teacher(distiller).model.parameters()}
    assert not own & {id(p) for p in distiller.parameters()}


def test_copies_share_it_and_conversions_reach_it(distiller):
    twin = copy.deepcopy(distiller)
    assert the_teacher(twin) is the_teacher(distiller)
    parameter = next(the_teacher(distiller).model.parameters())
    assert distiller.double() is distiller and parameter.dtype == torch.float64
    distiller.to(torch.float32)
    assert parameter.dtype == torch.float32
    distiller.half()
    assert parameter.dtype == torch.float16
    distiller.float().to('cpu')
    assert parameter.dtype == torch.float32
    assert the_teacher(distiller).model.data_preprocessor.device == torch.device('cpu')


@pytest.mark.parametrize('tap', ['backbone', 'head', 'logits', 'backbone.layer4.1.bn2',
                                 'auxiliary_head.convs.0', 'decode_head.conv_seg:input'])
@pytest.mark.parametrize('head', ['FCNHead', 'PSPHead', 'ASPPHead'])
def test_pruned_taps_are_bitwise_those_of_the_whole_forward(tap, head):
    student = tiny_segmentor(head, aux=1)
    distillations = dict(f=dict(FEATURE['f'], tap=tap))
    read = []
    for prune in (True, False):
        distiller = build(tiny_distiller(distillations, student, tiny_segmentor(head, 12, aux=1),
                                         prune=prune), seed=3)
        random_bn(the_teacher(distiller).model)
        batch = batch_of(distiller)
        calls = the_teacher(distiller).read(batch['inputs'], batch['data_samples'])
        read.append([x for values in calls.values() for x in values])
    # two random teachers with the same seed: compare like with like
    for one, other in zip(*read, strict=True):
        one, other = (x[-1] if isinstance(x, tuple) else x for x in (one, other))
        assert torch.equal(one, other)


def test_pruning_skips_what_comes_after():
    for prune, expected in ((True, 0), (False, 1)):
        distiller = build(tiny_distiller(FEATURE, prune=prune))
        ran = []
        the_teacher(distiller).model.decode_head.conv_seg.register_forward_hook(
            lambda *_, ran=ran: ran.append(1))
        distiller(**batch_of(distiller), mode='loss')
        assert len(ran) == expected


def test_own_inputs_are_those_of_the_teachers_own_preprocessor():
    mean, std = [100., 110., 120.], [50., 60., 70.]
    teacher_cfg = tiny_segmentor('PSPHead', 12, mean=mean, std=std)
    # the teacher was trained with another crop: the student's canvas counts
    teacher_cfg['data_preprocessor'].update(size=(64, 64), size_divisor=None, bgr_to_rgb=False)
    terms = dict(logits=dict(tap='logits', loss=dict(type='mmkd.KDLoss'), weight=1.),
                 memory=dict(tap='head', loss=dict(type='mmkd.CIRKDMiniBatchLoss')))
    distiller = build(tiny_distiller(terms, teacher=teacher_cfg))
    teacher = the_teacher(distiller)
    assert teacher.own_inputs
    raw = make_batch(size=(30, 28))
    untouched = copy.deepcopy(raw)
    batch = distiller.data_preprocessor(raw, True)
    labels = [sample.gt_sem_seg.data.clone() for sample in batch['data_samples']]
    seen = []
    teacher.library.forward, kept = (
        lambda *args: seen.append(args[1]) or kept(*args)), teacher.library.forward
    try:
        distiller(**batch, mode='loss')
    finally:
        teacher.library.forward = kept
    assert seen[0].shape == batch['inputs'].shape == (2, 3, 32, 32)
    by_hand = torch.zeros(2, 3, 32, 32)
    for i, image in enumerate(untouched['inputs']):
        for c in range(3):
            by_hand[i, c, :30, :28] = (image[c].float() - mean[c]) / std[c]
    torch.testing.assert_close(seen[0], by_hand)
    for sample, label in zip(batch['data_samples'], labels, strict=True):
        assert torch.equal(sample.gt_sem_seg.data, label), 'the student keeps its labels'
    # a batch that never passed the student's preprocessor has no raw data
    fresh = build(tiny_distiller(FEATURE, teacher=teacher_cfg))
    with pytest.raises(RuntimeError, match='train_step'):
        fresh(**batch, mode='loss')


def test_equal_preprocessing_is_shared_and_a_bare_teacher_takes_the_students():
    distiller = build(tiny_distiller(FEATURE))
    assert not the_teacher(distiller).own_inputs
    bare = tiny_segmentor('PSPHead', 12)
    bare.pop('data_preprocessor')
    assert not the_teacher(build(tiny_distiller(FEATURE, teacher=bare))).own_inputs


@pytest.mark.parametrize('change', [dict(mean=[0., 0., 0.]), dict(std=[1., 1., 1.]),
                                    dict(bgr_to_rgb=False), dict(pad_val=1)])
def test_what_makes_inputs_differ(change):
    one, other = (MODELS.build(cfg) for cfg in (preprocessor(), {**preprocessor(), **change}))
    assert same_preprocessing(one, one) and not same_preprocessing(one, other)


def test_bf16_is_close_and_leaves_weights_alone():
    exact, cheap = (build(tiny_distiller('kd', dtype=dtype)) for dtype in (None, 'bf16'))
    the_teacher(cheap).model.load_state_dict(the_teacher(exact).model.state_dict())
    batch = batch_of(exact)
    logits = [the_teacher(d).read(batch['inputs'], batch['data_samples'])[
        Source('decode_head.conv_seg')][0] for d in (exact, cheap)]
    assert logits[1].dtype == torch.bfloat16
    error = (logits[0] - logits[1].float()).norm() / logits[0].norm()
    assert 0 < error < 0.02
    assert next(the_teacher(cheap).model.parameters()).dtype == torch.float32
    assert torch.isfinite(cheap(**batch, mode='loss')['loss_logits'])


def test_a_distilled_student_teaches(tmp_path):
    """Config and checkpoint of a distillation stand for its student."""
    first = build(tiny_distiller('mgd'))
    Config(dict(default_scope='mmseg', model=tiny_distiller('mgd'))).dump(str(tmp_path / 'd.py'))
    torch.save(dict(state_dict=first.state_dict()), tmp_path / 'd.pth')
    assert any(key.startswith('distiller.') for key in first.state_dict())
    teacher = build_teacher('teacher', dict(config=str(tmp_path / 'd.py'),
                                            checkpoint=str(tmp_path / 'd.pth')))
    for key, value in first.student.state_dict().items():
        assert torch.equal(teacher.model.state_dict()[key], value)
    assert not hasattr(teacher.model, 'distiller')


@pytest.mark.parametrize('wrap', [lambda s: s, lambda s: dict(model=1, state_dict=s), lambda s: {
    f'module.{key}': value for key, value in s.items()}], ids=['bare', 'dict', 'ddp'])
def test_forms_of_checkpoints(tmp_path, wrap):
    cfg = tiny_segmentor()
    state = build(cfg, 5).state_dict()
    torch.save(wrap(state), tmp_path / 'f.pth')
    teacher = Teacher('teacher', cfg, str(tmp_path / 'f.pth'))
    assert all(torch.equal(v, state[k]) for k, v in teacher.model.state_dict().items())


def test_a_teacher_never_fetches_pretrained_weights():
    cfg = tiny_segmentor()
    cfg['pretrained'] = 'open-mmlab://resnet18_v1c'
    cfg['backbone']['init_cfg'] = None
    Teacher('teacher', cfg, allow_random=True)
