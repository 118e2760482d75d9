"""DIST against numpy's correlations, on maps and on rows of RoIs."""
import numpy as np
import pytest
import torch

from mmkd.models.losses import DISTLoss


def pair(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(shape, generator=generator, dtype=torch.float64)
                        for _ in range(2))
    return student.to(dtype).requires_grad_(), teacher.to(dtype)


def rows_of(x, use_sigmoid):
    """Scores as a numpy array (positions, classes)."""
    x = x.detach().double().numpy()
    x = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
    if use_sigmoid:
        return 1 / (1 + np.exp(-x))
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


def by_numpy(student, teacher, use_sigmoid):
    s, t = rows_of(student, use_sigmoid), rows_of(teacher, use_sigmoid)
    inter = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(s, t, strict=True)])
    intra = 1 - np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(s.T, t.T, strict=True)])
    return inter, intra


@pytest.mark.parametrize('shape', [(2, 5, 3, 4), (7, 5)], ids=['map', 'rows'])
@pytest.mark.parametrize('use_sigmoid', [True, False])
def test_is_the_correlation_of_numpy(shape, use_sigmoid):
    student, teacher = pair(*shape)
    inter, intra = by_numpy(student, teacher, use_sigmoid)
    loss = DISTLoss(beta=2., gamma=.5, use_sigmoid=use_sigmoid, eps=1e-14)
    assert loss(student, teacher).item() == pytest.approx(2 * inter + .5 * intra, rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher), student)


def test_a_map_is_its_positions_as_rows():
    student, teacher = pair(2, 5, 3, 4)
    rows = [x.permute(0, 2, 3, 1).reshape(-1, 5) for x in (student, teacher)]
    torch.testing.assert_close(DISTLoss()(student, teacher), DISTLoss()(*rows))


def test_scores_that_correlate_cost_nothing():
    """Not equal, but a line apart: the point of the method."""
    student, teacher = pair(6, 4)
    teacher = torch.logit(.2 + .5 * student.detach().sigmoid())
    value = DISTLoss(use_sigmoid=True)(student, teacher)
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert DISTLoss(use_sigmoid=True)(student, -teacher).item() == pytest.approx(4, abs=1e-6)


@pytest.mark.parametrize('shape, change, inter, intra', [
    ((1, 5, 1, 1), None, None, 1.),  # one position: no correlation over positions
    ((1, 5), None, None, 1.),
    ((4, 1), None, 1., 1.),  # rows of one class: a softmax over one is constant
    ((2, 5, 3, 4), lambda t: t.zero_(), 1., 1.)])
def test_what_is_constant_costs_one_without_gradient(shape, change, inter, intra):
    student, teacher = pair(*shape)
    if change:
        change(teacher)
    parts = DISTLoss().relations(student, teacher)
    for part, expected in zip(parts, (inter, intra), strict=True):
        if expected is not None:
            assert part.item() == pytest.approx(expected, abs=1e-9)
            gradient, = torch.autograd.grad(part, student, retain_graph=True)
            assert gradient.abs().max() < 1e-6
        assert part.isfinite()


@pytest.mark.parametrize('use_sigmoid', [True, False])
@pytest.mark.parametrize('shape', [(2, 4, 3, 5), (6, 4)], ids=['map', 'rows'])
@pytest.mark.parametrize('spoil', ['column', 'row', 'extreme', 'one hot', 'equal'])
def test_awkward_scores_stay_finite(use_sigmoid, shape, spoil):
    for side in (0, 1):
        maps = [x.detach() for x in pair(*shape, dtype=torch.float32)]
        if spoil == 'column':
            maps[side][:, 1] = 3.
        elif spoil == 'row':
            maps[side][0] = 3.
        elif spoil == 'extreme':
            maps[side] *= 1e4
        elif spoil == 'one hot':
            maps[side].fill_(-1e4)
            maps[side][:, 2] = 1e4
        else:
            maps[side] = maps[1 - side].clone()
        student = maps[0].requires_grad_()
        value = DISTLoss(use_sigmoid=use_sigmoid)(student, maps[1])
        gradient, = torch.autograd.grad(value, student)
        assert value.isfinite() and gradient.isfinite().all() and value >= -1e-6


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_rows_of_half_precision_are_computed_in_float32(dtype):
    student, teacher = pair(6, 4, dtype=dtype)
    value = DISTLoss()(student, teacher)
    gradient, = torch.autograd.grad(value, student)
    assert value.dtype == torch.float32 and gradient.dtype == dtype
    exact = DISTLoss()(student.detach().double(), teacher.double())
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)


def test_no_row_is_zero_with_a_graph():
    student, teacher = pair(0, 4)
    value = DISTLoss()(student, teacher)
    gradient, = torch.autograd.grad(value, student)
    assert value == 0 and gradient.shape == (0, 4)


def test_one_channel_is_two_classes_unless_sigmoid():
    student, teacher = pair(2, 1, 3, 4)
    both = [torch.cat([0 * x, x], 1) for x in (student, teacher)]
    torch.testing.assert_close(DISTLoss()(student, teacher), DISTLoss()(*both))
    inter, intra = DISTLoss(use_sigmoid=True).relations(student, teacher)
    assert inter.item() == 1 and 0 < intra.item() < 2


def test_other_rows_and_classes_are_refused():
    student, teacher = pair(6, 4)
    with pytest.raises(ValueError, match='6 rows, teacher 5.*same RoIs'):
        DISTLoss()(student, teacher[:5])
    with pytest.raises(ValueError, match='4 channels, teacher 3'):
        DISTLoss()(student, teacher[:, :3])
    with pytest.raises(ValueError, match='DISTLoss: teacher has shape'):
        DISTLoss()(pair(2, 4, 3, 3)[0], teacher)
    with pytest.raises(ValueError, match='eps=0'):
        DISTLoss(eps=0)
