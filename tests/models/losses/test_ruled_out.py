"""Classes that are ruled out (-inf), and nothing to compare: the losses built on softmax_kl."""
import pytest
import torch
import torch.nn.functional as F

from mmkd.models.losses import CWDLoss, DeFeatRoILoss, KDLoss
from mmkd.models.losses.softmax_kl import softmax_kl as softmax_kl_fn

from .test_logit_losses import pair, value_and_grad


@pytest.mark.parametrize('loss, dim', [
    (KDLoss(2.), 1), (KDLoss(2., 'batch'), 1), (KDLoss(2., 'element', False), 1), (CWDLoss(2.), 2),
    (CWDLoss(2., 'spatial'), 1), (CWDLoss(2., divergence='cross_entropy'), 2),
    (CWDLoss(2., 'spatial', 'cross_entropy'), 1), (CWDLoss(2., divergence='mse'), 2),
    (CWDLoss(2., 'spatial', 'mse'), 1)], ids=repr)
@pytest.mark.parametrize('both', [False, True])
def test_minus_infinity_is_probability_zero(loss, dim, both):
    student, teacher = pair(2, 5, 3, 7)
    where = torch.zeros_like(teacher, dtype=torch.bool)
    where[0, 1], where[1, 2, 1:, ::2] = dim == 1, True
    masked = teacher.masked_fill(where, -torch.inf)
    small = teacher.masked_fill(where, -1e5)  # the limit
    s = student.masked_fill(where, -torch.inf) if both else student
    s_small = student.masked_fill(where, -1e5) if both else student
    value, grad = value_and_grad(loss(s, masked), student)
    expected, expected_grad = value_and_grad(loss(s_small, small), student)
    assert value == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_minus_infinity_in_scores_of_rois_and_in_half_types(dtype):
    student, teacher = (torch.randn(6, 4, generator=torch.Generator().manual_seed(n)).to(dtype)
                        for n in (0, 1))
    teacher[::2, 1] = -torch.inf
    student.requires_grad_()
    labels = torch.tensor([0, 3, 1, 3, 2, 3])
    losses = DeFeatRoILoss(tau=2.)(student, teacher, labels)
    for name, chosen, tau in (('fg', labels < 3, 2.), ('bg', labels == 3, 1.)):
        p = (teacher[chosen].double() / tau).softmax(1)
        own = (student[chosen].double() / tau).log_softmax(1)
        terms = torch.where(p > 0, p * (p.clamp(min=1e-300).log() - own), 0)
        assert losses[name].item() == pytest.approx(2 * tau ** 2 * terms.sum(1).mean().item(),
                                                    rel=1e-5)
    gradient, = torch.autograd.grad(losses['fg'] + losses['bg'], student)
    assert gradient.isfinite().all() and gradient.any(1).all()


@pytest.mark.parametrize('shape, dim', [((0, 3), 1), ((2, 0), 1), ((2, 0), 0), ((2, 3, 0), 1),
                                        ((2, 3, 0), 2), ((0, 3, 4), -1), ((0, 0), 0)])
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_nothing_to_compare_is_zero_with_a_graph(shape, dim, dtype):
    student = torch.zeros(shape, dtype=dtype, requires_grad=True)
    value = softmax_kl_fn(student, torch.zeros(shape, dtype=dtype), dim, 2., 3.)
    assert value.shape == () and value == 0
    assert value.dtype == torch.promote_types(dtype, torch.float32)
    gradient, = torch.autograd.grad(value, student)
    assert gradient.shape == shape


def test_no_roi_is_zero_with_a_graph():
    student = torch.zeros(0, 4, requires_grad=True)
    losses = DeFeatRoILoss()(student, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    assert losses['fg'] == losses['bg'] == 0
    (losses['fg'] + losses['bg']).backward()
    assert student.grad.shape == (0, 4)


def test_minus_infinity_agrees_with_torch():
    student, teacher = pair(2, 5, 3, 7)
    teacher[:, 1, 0] = -torch.inf
    expected = F.kl_div(F.log_softmax(student, 1), F.softmax(teacher, 1), reduction='sum') / 42
    value, grad = value_and_grad(KDLoss()(student, teacher), student)
    expected_value, expected_grad = value_and_grad(expected, student)
    assert value == pytest.approx(expected_value, rel=1e-12)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_nan_stays_nan(side):
    """It is told by the first step, and must not turn into a number."""
    student, teacher = pair(2, 5, 3, 7)
    with torch.no_grad():
        (student if side == 'student' else teacher)[0, 1, 0, 0] = torch.nan
    assert KDLoss()(student, teacher).isnan() and CWDLoss()(student, teacher).isnan()
