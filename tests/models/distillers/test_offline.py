"""The distiller is its student in everything but ``mode='loss'``."""
import copy
import pickle

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import ExponentialMovingAverage, revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS as ROOT_MODELS
from mmseg.models import BaseSegmentor
from torch import nn

from mmkd.registry import MODELS
from tests.helpers import (
    build,
    make_batch,
    preprocessor,
    random_bn,
    save_teacher,
    terms_of,
    tiny_distiller,
    tiny_segmentor,
)

RECIPES = ['kd', 'cwd', 'mgd', 'fitnet', 'at', 'attnfd', 'cirkd']
SILENT = dict(type='stop', end=0)


def small(recipe):
    """A recipe with memory banks that fit a test."""
    terms = terms_of(recipe)
    if recipe == 'cirkd':
        terms['memory']['loss'].update(pixel_memory_size=40, region_memory_size=20,
                                       pixel_contrast_size=32, region_contrast_size=16)
    return terms


def student_for(recipe):
    """AttnFD taps a context module, which an FCN head has not."""
    return tiny_segmentor('PSPHead' if recipe == 'attnfd' else 'FCNHead')


def build_quiet(cfg, seed=0):
    torch.manual_seed(seed)
    return ROOT_MODELS.build(cfg)


def train_steps(model, steps=2, lr=0.05):
    """Train; return the logs."""
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(
        type='SGD', lr=lr, momentum=0.9, weight_decay=1e-4)))
    model.train()
    return [model.train_step(make_batch(seed=i), wrapper) for i in range(steps)]


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


# ---- kinds of students ------------------------------------------------------------------
@MODELS.register_module()
class OwnTensors(BaseSegmentor):
    """A segmentor with a parameter, a buffer and a BN directly on itself."""

    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer('steps', torch.zeros(1))
        self.register_buffer('scratch', torch.zeros(1), persistent=False)
        self.norm, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1)
        self.out_channels = self.num_classes = 4

    def extract_feat(self, inputs):
        return self.conv(self.norm(inputs))

    def encode_decode(self, inputs, metas):
        return self.extract_feat(inputs)

    def _forward(self, inputs, data_samples=None):
        return self.extract_feat(inputs) * self.scale

    def loss(self, inputs, data_samples):
        if self.training:
            self.steps += 1
        return dict(loss_own=self._forward(inputs).square().mean())

    def predict(self, inputs, data_samples=None):
        return self._forward(inputs)


def own_tensors(student=None):
    terms = dict(map=dict(student_tap='conv', teacher_tap='logits',
                          loss=dict(type='mmkd.KDLoss')))
    return build_quiet(tiny_distiller(
        terms, student or dict(type='mmkd.OwnTensors', data_preprocessor=preprocessor())))


def test_tensors_directly_on_the_student():
    model = own_tensors()
    assert {'scale', 'steps', 'norm.weight', 'conv.weight'} <= set(model.state_dict())
    assert 'scratch' not in model.state_dict()
    before = model.scale.detach().clone()
    train_steps(model, 2)
    assert model.steps.item() == 2  # the dry run left no trace
    assert model.scale is model.student.scale and not torch.equal(model.scale, before)
    other = copy.deepcopy(model).double()
    assert other.scale is other.student.scale and other.scale.dtype == torch.float64
    other.load_state_dict({**model.state_dict(), 'steps': torch.tensor([7.])})
    assert other.student.steps.item() == 7 and model.student.steps.item() == 2


def test_a_module_as_student():
    student = OwnTensors(preprocessor())
    model = own_tensors(student)
    assert model.student is student
    train_steps(model, 1)
    assert student.steps.item() == 1


def test_sync_batchnorm_conversion_reaches_the_student():
    convert = nn.SyncBatchNorm.convert_sync_batchnorm
    model = convert(own_tensors())
    assert isinstance(model.norm, nn.SyncBatchNorm) and model.student.norm is model.norm
    model = revert_sync_batchnorm(model)
    assert not isinstance(model.norm, nn.SyncBatchNorm) and model.student.norm is model.norm
    train_steps(model, 1)
    model = convert(build(tiny_distiller('kd')))
    kinds = {type(m) for m in model.student.modules() if 'Norm' in type(m).__name__}
    assert kinds == {nn.SyncBatchNorm}
    assert nn.SyncBatchNorm not in {type(m) for m in model.teachers['teacher'].model.modules()}


def test_a_replaced_child_is_replaced_in_the_student(cirkd):
    head = copy.deepcopy(cirkd.decode_head)
    cirkd.decode_head = head
    assert cirkd.student.decode_head is head


def test_student_from_a_config_file(tmp_path):
    config, _ = save_teacher(tmp_path, tiny_segmentor('PSPHead'))
    model = build_quiet(tiny_distiller('kd', dict(config=config)))
    assert type(model.decode_head).__name__ == 'PSPHead'
    bare = build_quiet(tiny_segmentor('PSPHead'))
    for key, value in bare.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


def test_preprocessor_of_the_runner_is_for_a_student_without_one():
    student = tiny_segmentor()
    del student['data_preprocessor']
    cfg = tiny_distiller('kd', student)
    model = build_quiet(dict(cfg, data_preprocessor=preprocessor(mean=[1., 2., 3.])))
    assert model.data_preprocessor.mean.flatten().tolist() == [1., 2., 3.]
    assert model.student.data_preprocessor is model.data_preprocessor


@pytest.mark.parametrize('student, message', [
    ('mmseg::x.py', 'student must be a model config or a module'),
    (dict(type='mmkd.OwnTensors', data_preprocessor=preprocessor(), distiller=1), 'distiller')])
def test_wrong_students(student, message):
    with pytest.raises((ValueError, TypeError), match=message):
        own_tensors(student)


# ---- losses -------------------------------------------------------------------------------
def test_loss_names_and_weights():
    terms = small('cirkd')
    model = build(tiny_distiller(terms))
    log = train_steps(model, 1)[0]
    assert set(log) == {'loss', 'decode.loss_ce', 'decode.acc_seg', 'loss_logits',
                        'loss_minibatch', 'loss_memory_pixel', 'loss_memory_region'}
    total = sum(v for k, v in log.items() if k not in ('loss', 'decode.acc_seg'))
    torch.testing.assert_close(log['loss'], total)


def test_a_weight_multiplies_its_term():
    values = []
    for weight in (1., 3.):
        terms = small('kd')
        terms['logits']['weight'] = weight
        values.append(train_steps(build(tiny_distiller(terms)), 1)[0]['loss_logits'])
    torch.testing.assert_close(values[1], values[0] * 3)


def test_several_teachers(tmp_path):
    (tmp_path / 'a').mkdir(), (tmp_path / 'b').mkdir()
    wide = tiny_segmentor('PSPHead', width=12)
    sources = {name: save_teacher(tmp_path / name, wide, seed)
               for seed, name in enumerate('ab', 1)}
    teachers = {name: dict(config=c, checkpoint=k) for name, (c, k) in sources.items()}

    def log_of(teacher, **terms):
        cfg = dict(tiny_distiller(terms), teacher=teacher)
        return train_steps(build(cfg), 1)[0]

    loss = dict(tap='logits', loss=dict(type='mmkd.KDLoss'))
    both = log_of(teachers, one=dict(loss, teacher='a'), two=dict(loss, teacher='b'))
    first, second = (log_of(teachers[name], one=loss)['loss_one'] for name in 'ab')
    assert both['loss_one'] == first and both['loss_two'] == second and first != second


def test_stop_leaves_the_teacher_idle_and_gradients_zero():
    terms = small('mgd')
    for term in terms.values():
        term['schedule'] = SILENT
    model = build(tiny_distiller(terms))
    data = model.data_preprocessor(make_batch(), True)
    losses = model(**data, mode='loss')
    assert losses['loss_feature'] == 0 and losses['loss_logits'] == 0
    model.parse_losses(losses)[0].backward()
    # DistributedDataParallel waits for a gradient of every parameter.
    assert all(p.grad is not None for p in model.parameters())
    assert not any(p.grad.any() for p in model.distiller.parameters())


def test_a_stopped_term_is_zero_even_if_its_features_are_huge():
    terms = dict(f=dict(tap='logits', schedule=SILENT, loss=dict(type='mmkd.KDLoss')))
    term = build(tiny_distiller(terms)).distiller['f']
    from mmkd.models.schedules import Time
    student = torch.full((1, 4, 64, 64), 6e4, dtype=torch.float16, requires_grad=True)
    loss = term(student, None, Time(0, 10), None)['loss_f']
    loss.backward()
    assert loss == 0 and not student.grad.any()


def test_a_name_of_the_students_losses_is_refused():
    terms = dict(own=dict(student_tap='conv', teacher_tap='logits',
                          loss=dict(type='mmkd.KDLoss')))
    model = build_quiet(tiny_distiller(
        terms, dict(type='mmkd.OwnTensors', data_preprocessor=preprocessor())))
    with pytest.raises(RuntimeError, match="'loss_own', a name the student has already"):
        train_steps(model, 1)
