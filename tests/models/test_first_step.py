"""Never a silent zero: what does not teach the student is refused, with the reason."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmkd.models.first_step import FirstStep, is_trained
from mmkd.models.libraries.mmseg import nothing_to_teach
from tests.helpers import build, make_batch, tiny_distiller, tiny_segmentor

CONV = dict(type='mmkd.ConvConnector')


class Embeds(nn.Module):
    """A learnable connector that is no convolution."""

    def __init__(self, in_channels=None, out_channels=None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels))

    def forward(self, x):
        return torch.einsum('oc,nchw->nohw', self.weight, x)


class Detaches(Embeds):
    def forward(self, x):
        return super().forward(x.detach())


class Loss(nn.Module):
    """A loss from a formula."""

    def __init__(self, of, labels=False):
        super().__init__()
        self.of = of

    def forward(self, student, teacher):
        return self.of(student, teacher)


class LabelLoss(Loss):
    def forward(self, student, teacher, labels):
        return self.of(student, teacher, labels)


def formula(of, cls=Loss):
    return dict(type=cls, of=of)


def mean(s, t):
    return s.square().mean()


def distiller(student=None, **term):
    term = {**dict(tap='backbone.layer4', loss=formula(mean)), **term}
    return build(tiny_distiller(dict(t=term), student))


def step(model, iteration=0, amp=None, **batch):
    """One training step, as the Runner makes it."""
    from mmengine.logging import MessageHub
    MessageHub.get_current_instance().update_info('iter', iteration)
    try:
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.01)))
        model.train()
        return model.train_step(make_batch(**batch), wrapper)
    finally:
        MessageHub.get_current_instance().update_info('iter', 0)


def refusal(model, **kwargs):
    with pytest.raises(RuntimeError) as info:
        step(model, **kwargs)
    message = str(info.value)
    assert "term 't' teaches the student nothing at its tap" in message
    return message


# ---- what teaches nothing -------------------------------------------------------------
@pytest.mark.parametrize('connector', [None, CONV, dict(type=Embeds)],
                         ids=['plain', 'conv', 'embedding'])
@pytest.mark.parametrize('of, reason', [
    (lambda s, t: s.detach().square().mean() + 0 * t.mean(), 'its loss (Loss) detaches it'),
    (lambda s, t: torch.zeros(()), 'its loss (Loss) detaches it'),
    (lambda s, t: torch.zeros((), requires_grad=True) * 1, 'its loss (Loss) detaches it'),
    (lambda s, t: 0 * s.mean(), 'gradient of Loss is zero everywhere on a map of shape'),
    (lambda s, t: s.sign().mean(), 'gradient of Loss is zero everywhere'),
    (lambda s, t: s[:, :1].softmax(1).mean(), 'a softmax over one channel'),
    (lambda s, t: s.mean() * float('nan'), 'Loss is NaN or infinite, although both taps'),
    (lambda s, t: (s - s).abs().sqrt().mean(), 'Loss is NaN or infinite, although both taps'),
    (lambda s, t: dict(a=0 * s.mean(), b=0 * s.sum()), 'zero everywhere'),
    (lambda s, t: dict(a=s.mean(), b=t.mean()), "losses ['b'] of Loss have no gradient"),
    (lambda s, t: dict(a=s.detach().mean(), b=t.mean()), 'Loss) detaches it'),
], ids=['detach', 'constant', 'other_graph', 'zero', 'sign', 'one_channel', 'nan', 'nan_gradient',
        'all_parts_zero', 'one_part_constant', 'all_parts_constant'])
def test_losses_that_teach_nothing(of, reason, connector):
    message = refusal(distiller(loss=formula(of), student_connector=connector))
    assert reason in message or (connector and 'have no gradient' in message), message
    assert "'backbone.layer4'" in message


def test_a_connector_that_detaches_is_named():
    message = refusal(distiller(student_connector=dict(type=Detaches)))
    assert 'its student_connector (Detaches) detaches it' in message


@pytest.mark.parametrize('connector', [None, CONV, dict(type=Embeds)],
                         ids=['plain', 'conv', 'embedding'])
@pytest.mark.parametrize('tap', ['backbone.layer2', 'backbone.maxpool', 'backbone.layer1:input',
                                 'backbone.layer2.0.relu[0]', 'backbone:input'])
def test_frozen_stages_are_told_when_it_is_built(tap, connector):
    student = tiny_segmentor()
    student['backbone']['frozen_stages'] = 2
    with pytest.raises(ValueError) as info:
        distiller(student, tap=tap, student_connector=connector)
    for part in ("term 't'", f'{tap!r} teaches the student nothing', 'frozen',
                 'Tap a later module'):
        assert part in str(info.value)
    distiller(student, tap='backbone.layer3', student_connector=connector)


def test_a_part_that_is_frozen_after_building_is_told_in_the_first_step():
    model = distiller(tap='backbone.layer2', student_connector=CONV)
    for name in ('stem', 'layer1', 'layer2'):
        getattr(model.backbone, name).requires_grad_(False)
    assert 'frozen' in refusal(model)


def test_activation_checkpointing():
    student = tiny_segmentor()
    student['backbone']['with_cp'] = True
    for tap in ('backbone.layer4.1.relu[0]', 'backbone.layer4.1.conv2'):
        with pytest.raises(ValueError, match='activation checkpointing'):
            distiller(student, tap=tap)
    # Overwritten in place, with what leaves the block: only the copy that training reads tells.
    assert 'activation checkpointing' in refusal(distiller(student, tap='backbone.layer4.1.bn2'))
    for tap in ('backbone.layer4', 'backbone', 'logits'):
        step(distiller(student, tap=tap))


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_a_tap_that_is_not_finite_is_named(side):
    model = distiller(loss=formula(lambda s, t: (s.mean() - t.mean()).square()))
    owner = model if side == 'student' else model.teachers['teacher'].model
    with torch.no_grad():
        owner.backbone.layer4[1].bn2.weight.fill_(float('nan'))
    assert f"because the {side} tap 'backbone.layer4' gives NaN" in refusal(model)


def test_student_equals_teacher():
    net = tiny_segmentor()
    model = build(tiny_distiller(dict(t=dict(tap='backbone.stem.0', loss=dict(
        type='mmkd.FitNetLoss'))), net, net))
    model.teachers['teacher'].model.load_state_dict(model.student.state_dict())
    assert 'the same network with the same weights' in refusal(model)


# ---- what does teach ------------------------------------------------------------------
@pytest.mark.parametrize('of', [
    lambda s, t: dict(a=s.mean(), b=0 * s.mean()),
    lambda s, t: s.square().mean((1, 2, 3)),
    lambda s, t: 1e-30 * s.square().mean(),
    lambda s, t: s[:, :1, :1, :1].square().sum(),
    lambda s, t: nn.functional.dropout(s, 0.5).mean(),
], ids=['part', 'not_reduced', 'tiny', 'one_pixel', 'random'])
def test_losses_that_teach(of):
    step(distiller(loss=formula(of)))


def test_a_part_that_trains_the_connector_alone_is_fine():
    step(distiller(loss=dict(type=WithWeights)))


class WithWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, student, teacher):
        return dict(own=self.scale * teacher.mean(), match=student.square().mean())


class Map:
    """A student's map of half precision with a gradient of a given size."""

    def __init__(self, dtype=torch.float16):
        self.weight = nn.Parameter(torch.ones(2, 3, 4, 4))
        self.value = (self.weight * 1.).to(dtype)


@pytest.mark.parametrize('factor', [1e-12, 1e-9, 1e-5, 1., 3e4])
def test_half_precision_neither_hides_nor_invents_a_gradient(factor):
    model = distiller()
    term, look = model.distiller['t'], FirstStep(model.student, nothing_to_teach)
    student = Map().value
    look(term, (student * factor).float().sum() if factor > 1e-6 else
         student.float().sum() * factor, student, student.detach(), None)
    assert look.done == {'t'}
    look = FirstStep(model.student, nothing_to_teach)
    with pytest.raises(RuntimeError, match='zero everywhere'):
        look(term, student.float().sum() * 0, student, student.detach() + 1, None)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast(dtype):
    """Every recipe's first step under autocast; fp16 needs a GradScaler's factor."""
    model = build(tiny_distiller('fitnet'))
    with torch.autocast('cpu', dtype):
        losses = model(**model.data_preprocessor(make_batch(), True), mode='loss')
    assert model._first_step.done == {'logits', 'feature'} and torch.isfinite(
        losses['loss_feature'])


def test_is_trained():
    weight = nn.Parameter(torch.ones(3))
    plain = torch.ones(3, requires_grad=True)
    assert is_trained(weight * 2) and is_trained(weight) and not is_trained(plain * 2)
    assert not is_trained(weight.detach()) and not is_trained((weight * 2).detach() + plain)
    x = torch.utils.checkpoint.checkpoint(lambda x: x * weight, plain, use_reentrant=True)
    assert is_trained(x)
