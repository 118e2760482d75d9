"""The distiller is its student in everything but ``mode='loss'``."""
import copy
import pickle

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import build_optim_wrapper
from torch import nn

from tests.helpers import build, make_batch, random_bn, tiny_distiller, tiny_segmentor
from tests.models.distillers.common import (
    RECIPES,
    SILENT,
    build_quiet,
    small,
    student_for,
    train_steps,
)


@pytest.fixture
def cirkd():
    return build(tiny_distiller(small('cirkd')))


# ---- the module tree ------------------------------------------------------------------
@pytest.mark.parametrize('recipe', RECIPES)
def test_state_dict_is_the_students_plus_distiller(recipe):
    model = build(tiny_distiller(small(recipe), student_for(recipe)))
    student = build(student_for(recipe))
    keys = list(model.state_dict())
    own = [key for key in keys if not key.startswith('distiller.')]
    assert own == list(student.state_dict())
    assert keys[:len(own)] == own  # the student first
    has_state = recipe not in ('kd', 'cwd', 'at')
    assert (len(keys) > len(own)) == has_state
    for key in own:
        assert torch.equal(model.state_dict()[key], student.state_dict()[key])


def test_teacher_is_in_no_list_of_the_model(cirkd):
    teacher = cirkd.teachers['teacher'].model
    secret = {id(t) for t in [*teacher.parameters(), *teacher.buffers()]}
    modules = {id(m) for m in teacher.modules()}
    ema = ExponentialMovingAverage(cirkd)
    wrapper = build_optim_wrapper(cirkd, dict(optimizer=dict(type='SGD', lr=1.)))
    optimized = [p for g in wrapper.optimizer.param_groups for p in g['params']]
    for tensors in (cirkd.parameters(), cirkd.buffers(), ema.parameters(), optimized):
        assert not secret & {id(t) for t in tensors}
    assert not modules & {id(m) for m in cirkd.modules()}
    assert ema.module.teachers['teacher'] is cirkd.teachers['teacher']
    shapes = sum(p.numel() for p in ema.module.parameters())
    assert shapes == sum(p.numel() for p in cirkd.parameters())


def test_optimizer_has_each_parameter_once(cirkd):
    wrapper = build_optim_wrapper(cirkd, dict(
        optimizer=dict(type='AdamW', lr=1., weight_decay=0.1),
        paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.)}, norm_decay_mult=0.)))
    ids = [id(p) for g in wrapper.optimizer.param_groups for p in g['params']]
    assert len(ids) == len(set(ids)) == len(list(cirkd.parameters()))
    fast = {id(p) for g in wrapper.optimizer.param_groups if g['lr'] == 10. for p in g['params']}
    assert fast == {id(p) for p in cirkd.student.decode_head.parameters()}


def test_copies_keep_sharing(cirkd):
    for other in (copy.deepcopy(cirkd), pickle.loads(pickle.dumps(cirkd))):
        assert other.student is not cirkd.student
        assert other.decode_head is other.student.decode_head
        assert other.backbone is not cirkd.backbone
        with torch.no_grad():
            for p in other.parameters():
                p.add_(1.)
        weight = cirkd.decode_head.conv_seg.weight
        assert torch.equal(other.student.decode_head.conv_seg.weight, weight + 1)
        assert [log['loss_logits'].item() for log in train_steps(other, 1)]


# ---- being the student ----------------------------------------------------------------
@pytest.mark.parametrize('recipe', RECIPES)
def test_other_modes_are_the_students(recipe):
    # mmseg reads the test_cfg by attributes, as a config file gives it.
    model = random_bn(build(ConfigDict(tiny_distiller(small(recipe), student_for(recipe))))).eval()
    alone = build(ConfigDict(student_for(recipe)), seed=3)
    alone.load_state_dict({k: v for k, v in model.state_dict().items()
                           if not k.startswith('distiller.')})
    alone.eval()
    data = make_batch()
    with torch.no_grad():
        ours, theirs = model.test_step(copy.deepcopy(data)), alone.test_step(copy.deepcopy(data))
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a.seg_logits.data, b.seg_logits.data)
            assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)
        assert len(model.val_step(copy.deepcopy(data))) == 2
        x = torch.randn(2, 3, 32, 32)
        assert torch.equal(model(x), alone(x))


@pytest.mark.parametrize('how', ['schedule', 'weight'])
def test_vanishing_terms_train_the_student_as_alone(how):
    terms = small('cwd')
    terms['logits'].update(dict(schedule=SILENT) if how == 'schedule' else dict(weight=1e-37))
    model, alone = build(tiny_distiller(terms)), build(tiny_segmentor())
    assert torch.equal(torch.get_rng_state(), _state_after(lambda: build(tiny_segmentor())))
    torch.manual_seed(5)
    logs = train_steps(model, 3)
    torch.manual_seed(5)
    expected = train_steps(alone, 3)
    for ours, theirs in zip(logs, expected, strict=True):
        assert ours['decode.loss_ce'] == theirs['decode.loss_ce']
    for key, value in alone.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


def _state_after(function):
    function()
    return torch.get_rng_state()


@pytest.mark.parametrize('recipe', RECIPES)
def test_building_draws_nothing_of_the_students_stream(recipe):
    build(student_for(recipe))
    expected = torch.rand(3)
    build(tiny_distiller(small(recipe), student_for(recipe)))
    assert torch.equal(torch.rand(3), expected)


def test_attributes_are_the_students(cirkd):
    assert cirkd.num_classes == 4 and cirkd.align_corners is False
    assert cirkd.with_decode_head and not cirkd.with_auxiliary_head
    assert cirkd.test_cfg is cirkd.student.test_cfg
    assert callable(cirkd.encode_decode)
    with pytest.raises(AttributeError, match='no_such_thing'):
        cirkd.no_such_thing  # noqa: B018
    assert not hasattr(cirkd, '__wrapped__')


def test_train_and_eval(cirkd):
    for mode in (False, True):
        cirkd.train(mode)
        assert cirkd.student.training is mode
        assert all(m.training is mode for m in cirkd.modules())
        assert not any(m.training for m in cirkd.teachers['teacher'].model.modules())


def test_frozen_stages_stay_frozen():
    student = tiny_segmentor()
    student['backbone'].update(frozen_stages=1, norm_eval=True)
    model = build(tiny_distiller('kd', student)).train()
    assert not model.backbone.layer1.training
    assert not any(m.training for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d))
    assert not any(p.requires_grad for p in model.backbone.layer1.parameters())


@pytest.mark.parametrize('move, dtype', [
    (lambda m: m.double(), torch.float64), (lambda m: m.half(), torch.float16),
    (lambda m: m.to(torch.bfloat16), torch.bfloat16)])
def test_teacher_follows_the_student(cirkd, move, dtype):
    assert move(cirkd) is cirkd
    teacher = cirkd.teachers['teacher'].model
    for module in (cirkd, cirkd.student, teacher):
        assert {p.dtype for p in module.parameters()} == {dtype}
    cirkd.to('meta')
    for module in (cirkd, cirkd.student, teacher):
        assert {p.device.type for p in module.parameters()} == {'meta'}
        assert torch.device(module.data_preprocessor.device).type == 'meta'


def test_double_trains():
    model = build(tiny_distiller(small('mgd'))).double()
    inputs = model.data_preprocessor(make_batch(), True)
    losses = model(inputs['inputs'].double(), inputs['data_samples'], mode='loss')
    assert losses['loss_logits'].dtype == losses['loss_feature'].dtype == torch.float64
    model.parse_losses(losses)[0].backward()


def test_init_weights_starts_the_connectors_anew_outside_the_stream():
    calls = []

    class Counted(nn.Conv2d):
        def __init__(self, in_channels=None, out_channels=None):
            super().__init__(in_channels, out_channels, 1)

        def init_weights(self):
            calls.append(torch.rand(1))
            nn.init.zeros_(self.weight)

    terms = dict(f=dict(tap='backbone', student_connector=dict(type=Counted),
                        loss=dict(type='mmkd.FitNetLoss')))
    model = build_quiet(tiny_distiller(terms))
    torch.manual_seed(9)
    model.init_weights()
    after = torch.rand(1)
    alone = build_quiet(tiny_segmentor())
    torch.manual_seed(9)
    alone.init_weights()
    assert torch.equal(after, torch.rand(1))
    assert len(calls) == 1 and not model.distiller['f'].student_connector.weight.any()
