"""CWDLoss against the formulas of its card, written out densely."""
import pytest
import torch
import torch.nn.functional as F

from mmkd.models.losses import CWDLoss, softmax_kl

N, C, H, W = 2, 5, 4, 7


def pair(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(*shape, generator=generator, dtype=torch.float64) * 3
                        for _ in range(2))
    return student.to(dtype).requires_grad_(), teacher.to(dtype)


def check(loss, expected, student):
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    grad, = torch.autograd.grad(loss, student)
    expected_grad, = torch.autograd.grad(expected, student)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize('tau', [1., 4.])
@pytest.mark.parametrize('chunk', [1, 500, 10 ** 9])
def test_channel_kl(monkeypatch, tau, chunk):
    monkeypatch.setattr(softmax_kl, 'CHUNK_BYTES_CPU', chunk)
    student, teacher = pair(N, C, H, W)
    p, q = ((x / tau).flatten(2).softmax(-1) for x in (teacher, student))
    expected = tau ** 2 / (N * C) * (p * (p.log() - q.log())).sum()
    check(CWDLoss(tau)(student, teacher), expected, student)


def test_spatial_is_a_softmax_over_channels():
    student, teacher = pair(N, C, H, W)
    p, q = ((x / 2).softmax(1) for x in (teacher, student))
    expected = 4. / (N * H * W) * (p * (p.log() - q.log())).sum()
    check(CWDLoss(2., norm='spatial')(student, teacher), expected, student)


@pytest.mark.parametrize('norm, dim, divisor', [('channel', 2, N * C), ('spatial', 1, N * H * W)])
def test_cross_entropy_has_the_gradient_of_kl(norm, dim, divisor):
    student, teacher = pair(N, C, H, W)
    log_q = (student / 3).flatten(2).log_softmax(dim)
    expected = -9. / divisor * ((teacher / 3).flatten(2).softmax(dim) * log_q).sum()
    loss = CWDLoss(3., norm=norm, divergence='cross_entropy')(student, teacher)
    check(loss, expected, student)
    kl = CWDLoss(3., norm=norm)(student, teacher)
    grads = [torch.autograd.grad(
        CWDLoss(3., norm=norm, divergence=d)(student, teacher), student)[0]
        for d in ('kl', 'cross_entropy')]
    assert torch.equal(*grads) and loss > kl


@pytest.mark.parametrize('norm, function, divisor', [
    ('channel', lambda x: x.flatten(2).softmax(2), N * C),
    ('spatial', lambda x: x.softmax(1), N * H * W),
    ('channel_mean', lambda x: x.mean((2, 3)), N * C),
    ('none', lambda x: x, N * H * W),
])
def test_mse(norm, function, divisor):
    student, teacher = pair(N, C, H, W)
    expected = F.mse_loss(function(student), function(teacher), reduction='sum') / divisor
    # tau plays no part, as in the official code
    check(CWDLoss(5., norm=norm, divergence='mse')(student, teacher), expected, student)


def test_divisor_channels_replaces_c():
    student, teacher = pair(N, C, H, W)
    ratio = CWDLoss(4., divisor_channels=3)(student, teacher) / CWDLoss(4.)(student, teacher)
    assert ratio.item() == pytest.approx(C / 3)


def test_gradcheck():
    student, teacher = pair(1, 2, 3, 2)
    assert torch.autograd.gradcheck(lambda s: CWDLoss(2.)(s, teacher), student)


def test_resizes_the_student():
    student, _ = pair(N, C, 3, 4)
    _, teacher = pair(N, C, H, W)
    resized = F.interpolate(student, size=(H, W), mode='bilinear', align_corners=False)
    check(CWDLoss()(student, teacher), CWDLoss()(resized, teacher), student)


def test_constant_channel_single_image_and_large_logits():
    student, teacher = pair(1, 3, 4, 4, dtype=torch.float32)
    with torch.no_grad():
        student[:, 0], teacher[:, 1] = 2., 0.
        student[:, 2] *= 1e4
        teacher[:, 2] *= 1e4
    loss = CWDLoss(1.)(student, teacher)
    expected = CWDLoss(1.)(student.double(), teacher.double())
    assert loss.isfinite() and loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.autograd.grad(loss, student)[0].isfinite().all()


def test_channels_last_student():
    student, teacher = pair(N, C, H, W)
    last = student.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    grad, = torch.autograd.grad(CWDLoss(4.)(last, teacher), last)
    torch.testing.assert_close(
        grad, torch.autograd.grad(CWDLoss(4.)(student, teacher), student)[0])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('divergence', ['kl', 'cross_entropy', 'mse'])
def test_half_precision_is_computed_in_float32(dtype, divergence):
    student, teacher = pair(N, C, H, W, dtype=dtype)
    loss = CWDLoss(4., divergence=divergence)(student, teacher)
    wide = CWDLoss(4., divergence=divergence)(student.float(), teacher.float())
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(wide.item(), rel=1e-6)
    assert torch.autograd.grad(loss, student)[0].dtype == dtype


@pytest.mark.parametrize('arguments, word', [
    (dict(tau=0), 'tau'), (dict(norm='batch'), 'norm'), (dict(divergence='js'), 'divergence'),
    (dict(norm='none'), 'divergence'), (dict(norm='channel_mean'), 'divergence'),
    (dict(divisor_channels=0), 'divisor_channels'),
    (dict(norm='spatial', divisor_channels=4), 'divisor_channels')])
def test_rejects_bad_arguments(arguments, word):
    with pytest.raises(ValueError, match=word):
        CWDLoss(**arguments)


def test_rejects_unequal_channels():
    with pytest.raises(ValueError, match='channels'):
        CWDLoss()(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, 4))
