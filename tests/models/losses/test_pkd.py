"""PKD against the correlation it stands for."""
import pytest
import torch

from mmkd.models.losses.feature import PKDLoss


def maps(shape=(2, 3, 4, 5), other=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(shape, generator=generator, dtype=torch.float64)
    teacher = torch.randn(other or shape, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), teacher


def correlations(student, teacher):
    rows = (x.detach().transpose(0, 1).flatten(1) for x in (student, teacher))
    return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1]
                        for pair in zip(*rows, strict=True)])


def test_it_is_one_minus_the_correlation():
    student, teacher = maps()
    n = 2 * 4 * 5
    expected = (n - 1) / n * (1 - correlations(student, teacher)).mean()
    assert PKDLoss()(student, teacher).item() == pytest.approx(expected.item(), rel=1e-5)


def test_scale_and_offset_of_a_channel_do_not_count():
    student, teacher = maps()
    factor = torch.tensor([1e-2, 3., 1e3])[:, None, None]
    moved = factor * student + torch.tensor([5., -7., 0.])[:, None, None]
    assert PKDLoss()(moved, teacher).item() == pytest.approx(
        PKDLoss()(student, teacher).item(), rel=1e-3)
    assert PKDLoss()(moved, student.detach()).item() == pytest.approx(0, abs=1e-6)
    assert PKDLoss()(-moved, student.detach()).item() == pytest.approx(2 * 39 / 40, rel=1e-3)


def test_levels_of_any_size_weigh_the_same():
    values = [PKDLoss()(*maps((2, 8, side, side))).item() for side in (4, 8, 32)]
    assert all(0.9 < value < 1.1 for value in values)  # of maps that have nothing in common


def test_either_side_is_resized():
    student, teacher = maps((2, 3, 4, 5), (2, 3, 8, 10))
    def up(x): return torch.nn.functional.interpolate(x, (8, 10), mode='bilinear')
    def down(x): return torch.nn.functional.interpolate(x, (4, 5), mode='bilinear')
    assert PKDLoss()(student, teacher) == PKDLoss()(up(student), teacher)
    assert PKDLoss(resize_stu=False)(student, teacher) == PKDLoss()(student, down(teacher))
    wider, _ = maps((2, 3, 8, 7))  # as high, but not as wide
    assert PKDLoss()(wider, teacher) == PKDLoss()(torch.nn.functional.interpolate(
        wider, (8, 10), mode='bilinear'), teacher)


@pytest.mark.parametrize('shape', [(2, 3, 4, 5), (1, 2, 1, 7), (3, 2, 1, 1)])
def test_gradient(shape):
    student, teacher = maps(shape)
    assert torch.autograd.gradcheck(lambda x: PKDLoss()(x, teacher), student)
    smaller, _ = maps((*shape[:2], 1, 3))
    assert torch.autograd.gradcheck(lambda x: PKDLoss()(x, teacher), smaller)
    assert torch.autograd.gradcheck(lambda x: PKDLoss(resize_stu=False)(x, teacher), smaller)


def test_one_value_in_all_has_no_correlation():
    student, teacher = maps((1, 3, 1, 1))
    value = PKDLoss()(student, teacher)
    value.backward()
    assert value == 0 and not student.grad.any()


def test_constant_channels():
    student, teacher = maps()
    with torch.no_grad():
        student[:, 0], teacher[:, 1] = 3., -2.
    value = PKDLoss()(student, teacher)
    value.backward()
    r = correlations(student, teacher)[2].item()
    assert value.item() == pytest.approx(39 / 40 * (0.5 + 0.5 + 1 - r) / 3, rel=1e-5)
    assert student.grad.isfinite().all()
    # against a constant, nothing can be learned: only the deviation of the student counts
    assert student.grad[:, 1].abs().max() < 1e-5 * student.grad[:, 2].abs().max()
