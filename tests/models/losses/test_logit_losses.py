"""KDLoss and the closed-form softmax KL below it."""
import pytest
import torch
import torch.nn.functional as F

from mmkd.models.losses import KDLoss, closed_form, softmax_kl
from mmkd.models.losses.softmax_kl import softmax_kl as softmax_kl_fn


def pixel_kl(student, teacher, tau):
    """KL of each pixel, (N, H, W), straight from the definition."""
    p = torch.exp(teacher / tau) / torch.exp(teacher / tau).sum(1, keepdim=True)
    q = torch.exp(student / tau) / torch.exp(student / tau).sum(1, keepdim=True)
    return (p * (p.log() - q.log())).sum(1)


def pair(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(*shape, generator=generator, dtype=torch.float64) * 2
    teacher = torch.randn(*shape, generator=generator, dtype=torch.float64) * 2
    return student.to(dtype).requires_grad_(), teacher.to(dtype)


def value_and_grad(loss, student):
    return loss.item(), torch.autograd.grad(loss, student)[0]


@pytest.mark.parametrize('tau', [1., 4.])
@pytest.mark.parametrize('reduction, divisor', [('pixel', 2 * 3 * 7), ('batch', 2),
                                                ('element', 2 * 5 * 3 * 7)])
@pytest.mark.parametrize('tau_squared', [True, False])
def test_kd_is_the_formula(tau, reduction, divisor, tau_squared):
    student, teacher = pair(2, 5, 3, 7)
    expected = pixel_kl(student, teacher, tau).sum() / divisor * (tau ** 2 if tau_squared else 1)
    loss = KDLoss(tau, reduction, tau_squared)(student, teacher)
    value, grad = value_and_grad(loss, student)
    expected_value, expected_grad = value_and_grad(expected, student)
    assert value == pytest.approx(expected_value, rel=1e-12)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-15)


def test_kd_element_without_tau_squared_is_the_mean_over_elements():
    student, teacher = pair(2, 5, 3, 7)
    log_q, p = F.log_softmax(student, 1), F.softmax(teacher, 1)
    expected = F.kl_div(log_q, p, reduction='none').mean()
    loss = KDLoss(reduction='element', tau_squared=False)(student, teacher)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)


def test_kd_resizes_the_student():
    student, _ = pair(2, 5, 3, 4)
    _, teacher = pair(2, 5, 6, 9)
    resized = F.interpolate(student, size=(6, 9), mode='bilinear', align_corners=False)
    value, grad = value_and_grad(KDLoss()(student, teacher), student)
    expected_value, expected_grad = value_and_grad(pixel_kl(resized, teacher, 1.).mean(), student)
    assert value == pytest.approx(expected_value, rel=1e-12)
    torch.testing.assert_close(grad, expected_grad)


# 1 byte: one row or column a chunk. 400: some, with a rest. The last: all at once.
@pytest.mark.parametrize('chunk', [1, 400, 1000, 10 ** 9])
@pytest.mark.parametrize('dim', [0, 1, 2, -1])
def test_softmax_kl_does_not_depend_on_chunks(monkeypatch, chunk, dim):
    monkeypatch.setattr(softmax_kl, 'CHUNK_BYTES_CPU', chunk)
    student, teacher = pair(5, 7, 11)
    log_q, p = F.log_softmax(student / 3, dim), F.softmax(teacher / 3, dim)
    expected_value, expected_grad = value_and_grad(
        F.kl_div(log_q, p, reduction='sum') * 0.7, student)
    value, grad = value_and_grad(softmax_kl_fn(student, teacher, dim, 3., 0.7), student)
    assert value == pytest.approx(expected_value, rel=1e-12)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize('dim', [1, 2])
def test_softmax_kl_gradcheck(monkeypatch, dim):
    monkeypatch.setattr(softmax_kl, 'CHUNK_BYTES_CPU', 100)
    student, teacher = pair(2, 3, 4)
    assert torch.autograd.gradcheck(lambda s: softmax_kl_fn(s, teacher, dim, 2., 3.), student)


def test_softmax_kl_can_be_differentiated_only_once():
    student, teacher = pair(2, 3, 4)
    with pytest.raises(RuntimeError, match='only once'):
        torch.autograd.grad(softmax_kl_fn(student, teacher, 1), student, create_graph=True)


@pytest.mark.parametrize('probe', [True, False])
def test_a_retained_graph_gives_the_gradient_again(monkeypatch, probe):
    if not probe:  # a torch without the private probe
        monkeypatch.setattr(closed_form.torch._C._autograd,
                            '_get_current_graph_task_keep_graph', None)
    student, teacher = pair(2, 3, 4)
    loss = softmax_kl_fn(student, teacher, 1)
    first, = torch.autograd.grad(loss, student, torch.tensor(3., dtype=loss.dtype),
                                 retain_graph=True)
    kept = first.clone()
    second, = torch.autograd.grad(loss, student)
    torch.testing.assert_close(first, second * 3)
    assert torch.equal(first, kept)


def test_backward_twice_without_retaining_is_an_error():
    student, teacher = pair(2, 3, 4)
    loss = softmax_kl_fn(student, teacher, 1)
    loss.backward()
    with pytest.raises(RuntimeError, match='retain_graph'):
        loss.backward()


def test_no_gradient_is_computed_where_none_is_wanted():
    student, teacher = pair(2, 3, 4)
    assert not softmax_kl_fn(student.detach(), teacher, 1).requires_grad
    with torch.no_grad():
        assert not softmax_kl_fn(student, teacher, 1).requires_grad
    teacher.requires_grad_()
    softmax_kl_fn(student, teacher, 1).backward()
    assert teacher.grad is None


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher = pair(2, 19, 8, 9, dtype=dtype)
    wide = student.detach().float().requires_grad_()
    expected, expected_grad = value_and_grad(KDLoss(4.)(wide, teacher.float()), wide)
    loss = KDLoss(4.)(student, teacher)
    # A loss scale is applied before the gradient is rounded: small entries survive.
    grad, = torch.autograd.grad(loss * 1024, student)
    assert loss.dtype == torch.float32 and grad.dtype == dtype
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(grad, (expected_grad * 1024).to(dtype))


def test_kd_under_autocast_equals_float32():
    student, teacher = pair(2, 5, 4, 4, dtype=torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        inside = KDLoss(2.)(student, teacher)
    assert torch.equal(inside, KDLoss(2.)(student, teacher))


def test_large_logits_stay_finite_and_right():
    student = torch.tensor([1e4, -1e4, 0.]).view(1, 3, 1, 1).requires_grad_()
    teacher = torch.tensor([-1e4, 1e4, 0.]).view(1, 3, 1, 1)
    value, grad = value_and_grad(KDLoss()(student, teacher), student)
    assert value == pytest.approx(2e4)
    assert grad.flatten().tolist() == [1., -1., 0.]


@pytest.mark.parametrize('shape', [(1, 1, 1, 1), (1, 1, 4, 5), (1, 6, 1, 1)])
def test_tiny_shapes(shape):
    student, teacher = pair(*shape)
    value, grad = value_and_grad(KDLoss()(student, teacher), student)
    if shape[1] == 1:  # two classes, told apart by a sigmoid
        student, teacher = (torch.cat([x * 0, x], 1) for x in (student, teacher))
    assert value == pytest.approx(pixel_kl(student, teacher, 1.).mean().item(), abs=1e-15)
    assert grad.isfinite().all()


def test_equal_logits_give_zero():
    student, _ = pair(2, 5, 3, 7, dtype=torch.float32)
    value, grad = value_and_grad(KDLoss(2.)(student, student.detach().clone()), student)
    assert value == 0 and grad.abs().max() == 0


def test_non_contiguous_student():
    student, teacher = pair(2, 5, 3, 7)
    last = student.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    value, grad = value_and_grad(KDLoss()(last, teacher), last)
    expected, expected_grad = value_and_grad(KDLoss()(student, teacher), student)
    assert value == pytest.approx(expected, rel=1e-14)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize('arguments, word', [(dict(tau=0), 'tau'), (dict(tau=-1), 'tau'),
                                             (dict(reduction='mean'), 'reduction')])
def test_kd_rejects_bad_arguments(arguments, word):
    with pytest.raises(ValueError, match=word):
        KDLoss(**arguments)


def test_kd_rejects_unequal_classes():
    with pytest.raises(ValueError, match='classes'):
        KDLoss()(torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, 4))
    with pytest.raises(ValueError, match='shape'):
        softmax_kl_fn(torch.zeros(2, 3), torch.zeros(2, 4), 1)
