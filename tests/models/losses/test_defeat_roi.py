"""DeFeatRoILoss: the class scores of RoIs, objects and background apart."""
import copy
import pickle

import numpy as np
import pytest
import torch

from mmkd.models.losses import DeFeatRoILoss

LABELS = torch.tensor([1, 4, 0, 4, 4, 3])


def scores(rows=6, classes=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(rows, classes + 1, generator=generator).double()
                        for _ in range(2))
    return student.to(dtype).requires_grad_(), teacher.to(dtype)


def kl(student, teacher, tau):
    """Of each row, by numpy."""
    q, p = (np.exp(x) / np.exp(x).sum(1, keepdims=True)
            for x in (side.detach().double().numpy() / tau for side in (student, teacher)))
    return tau ** 2 * (p * np.log(p / q)).sum(1)


def test_is_the_mean_of_each_kind_of_rows():
    student, teacher = scores()
    value = DeFeatRoILoss(fg_weight=3., bg_weight=.5, tau=2., bg_tau=4.)(student, teacher, LABELS)
    assert value['fg'].item() == pytest.approx(3 * kl(student, teacher, 2.)[[0, 2, 5]].mean())
    assert value['bg'].item() == pytest.approx(.5 * kl(student, teacher, 4.)[[1, 3, 4]].mean())
    assert torch.autograd.gradcheck(
        lambda x: sum(DeFeatRoILoss(tau=2.)(x, teacher, LABELS).values()), student)


@pytest.mark.parametrize('labels, kind', [([4] * 6, 'fg'), ([0, 1, 2, 3, 3, 3], 'bg')])
def test_no_row_of_a_kind_gives_zero_with_a_graph(labels, kind):
    student, teacher = scores()
    value = DeFeatRoILoss()(student, teacher, torch.tensor(labels))
    gradient, = torch.autograd.grad(value[kind], student)
    assert value[kind] == 0 and not gradient.any()
    other, = (part for name, part in value.items() if name != kind)
    assert other > 0


def test_no_row_at_all():
    for flag in (False, True):
        student, teacher = scores(0)
        value = sum(DeFeatRoILoss(largest_is_background=flag)(
            student, teacher, LABELS[:0]).values())
        gradient, = torch.autograd.grad(value, student)
        assert value == 0 and gradient.shape == (0, 5)


def test_without_background_the_official_code_takes_the_last_class_for_it():
    student, teacher = scores()
    labels = torch.tensor([0, 1, 2, 3, 3, 3])
    rows = kl(student, teacher, 1.)
    value = DeFeatRoILoss(1., 1., largest_is_background=True)(student, teacher, labels)
    assert value['fg'].item() == pytest.approx(rows[:3].mean())
    assert value['bg'].item() == pytest.approx(rows[3:].mean())
    assert DeFeatRoILoss(1., 1.)(student, teacher, labels)['fg'].item() == pytest.approx(
        rows.mean())


@pytest.mark.parametrize('spoil', ['extreme', 'constant', 'equal'])
def test_awkward_scores_stay_finite(spoil):
    student, teacher = (x.detach().float() for x in scores())
    if spoil == 'extreme':
        student, teacher = student * 1e4, -teacher * 1e4
    elif spoil == 'constant':
        student, teacher = torch.zeros_like(student), torch.ones_like(teacher)
    else:
        teacher = student.clone()
    student.requires_grad_()
    value = sum(DeFeatRoILoss()(student, teacher, LABELS).values())
    gradient, = torch.autograd.grad(value, student)
    assert value.isfinite() and gradient.isfinite().all()
    assert (value > 0) == (spoil == 'extreme')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher = scores(dtype=dtype)
    value = sum(DeFeatRoILoss()(student, teacher, LABELS).values())
    exact = sum(DeFeatRoILoss()(student.double(), teacher.double(), LABELS).values())
    gradient, = torch.autograd.grad(value, student)
    assert value.dtype == torch.float32 and gradient.dtype == dtype
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)


def test_gradient_reaches_the_student_only():
    student, teacher = scores()
    teacher.requires_grad_()
    sum(DeFeatRoILoss()(student, teacher, LABELS).values()).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


def test_what_does_not_fit_is_refused():
    student, teacher = scores()
    loss = DeFeatRoILoss()
    with pytest.raises(ValueError, match='6 rows, teacher 5.*same RoIs'):
        loss(student, teacher[:5], LABELS)
    with pytest.raises(ValueError, match='5 channels, teacher 4'):
        loss(student, teacher[:, :4], LABELS)
    with pytest.raises(ValueError, match="and 5 labels.*'roi_cls'"):
        loss(student, teacher, LABELS[:5])
    with pytest.raises(ValueError, match="'roi_cls'"):
        loss(student[..., None, None], teacher[..., None, None], LABELS)
    for arguments in (dict(tau=0), dict(bg_tau=-1)):
        with pytest.raises(ValueError, match='temperatures'):
            DeFeatRoILoss(**arguments)


def test_copies_and_pickles():
    loss, (student, teacher) = DeFeatRoILoss(tau=2.), scores()
    expected = sum(loss(student, teacher, LABELS).values())
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert sum(twin(student, teacher, LABELS).values()) == expected
        assert repr(twin) == repr(loss)
