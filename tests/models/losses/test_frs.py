"""FRS against its formula, with plain loops."""
import math

import pytest
import torch

from mmkd.models.losses.feature import FRSLoss


def taps(n=2, c=3, k=4, size=(3, 5), seed=0, shift=0.):
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(n, c, *size, generator=generator, dtype=torch.float64)
    scores = torch.randn(n, k, *size, generator=generator, dtype=torch.float64) + shift
    return dict(feature=feature, cls=scores)


def pair(**options):
    student, teacher = taps(seed=0, **options), taps(seed=1, **options)
    return {key: x.requires_grad_() for key, x in student.items()}, teacher


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_hand(student, teacher):
    feat = cls = total = 0.
    n, _, h, w = teacher['feature'].shape
    for place in ((i, y, x) for i in range(n) for y in range(h) for x in range(w)):
        i, y, x = place
        rich = max(sigmoid(float(t)) for t in teacher['cls'][i, :, y, x])
        total += rich
        feat += rich * sum((float(s) - float(t)) ** 2 for s, t in zip(
            student['feature'][i, :, y, x], teacher['feature'][i, :, y, x], strict=True))
        for s, t in zip(student['cls'][i, :, y, x], teacher['cls'][i, :, y, x], strict=True):
            p, q = sigmoid(float(s)), sigmoid(float(t))
            cls -= rich * (q * math.log(p) + (1 - q) * math.log(1 - p))
    return feat / total, cls / total


@pytest.mark.parametrize('from_logits', [True, False])
def test_formula(from_logits):
    student, teacher = pair()
    losses = FRSLoss(2., 3., from_logits)(student, teacher)
    feat, cls = by_hand(student, teacher)
    assert losses['feat'].item() == pytest.approx(2 * feat)
    assert losses['cls'].item() == pytest.approx(3 * cls)


@pytest.mark.parametrize('from_logits', [True, False])
def test_gradient_of_both_taps(from_logits):
    student, teacher = pair(size=(2, 2))
    teacher = {key: x.requires_grad_() for key, x in teacher.items()}
    loss = FRSLoss(from_logits=from_logits)
    assert torch.autograd.gradcheck(
        lambda feature, cls: tuple(loss(dict(feature=feature, cls=cls), teacher).values()),
        tuple(student.values()))
    sum(loss(student, teacher).values()).backward()
    assert all(x.grad is None for x in teacher.values())


def test_only_rich_places_teach():
    student, teacher = pair()
    teacher['cls'][:, :, :2] = -60.
    sum(FRSLoss()(student, teacher).values()).backward()
    for x in student.values():
        assert x.grad[:, :, 2].abs().min() > 0
        assert x.grad[:, :, :2].abs().max() < 1e-20


@pytest.mark.parametrize('from_logits', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('level', [0., -60., -1e4, 60., 1e4])
def test_extreme_scores(from_logits, dtype, level):
    """Also where no place is rich: 0 / 0 in official code."""
    for side in ('student', 'teacher', 'both'):
        both = dict(zip(('student', 'teacher'), pair(), strict=True))
        for key in both if side == 'both' else (side,):
            both[key]['cls'] = (both[key]['cls'].detach() * 10 + level)
        student, teacher = ({key: x.detach().to(dtype).requires_grad_() for key, x in taps.items()}
                            for taps in both.values())
        losses = FRSLoss(from_logits=from_logits)(student, teacher)
        sum(losses.values()).backward()
        assert all(x.dtype == torch.float32 and x.isfinite() for x in losses.values())
        assert all(x.grad.isfinite().all() for x in student.values())
        if level == -1e4 and side != 'student':
            assert all(x == 0 and x.requires_grad for x in losses.values())


def test_a_wrong_and_certain_student_learns():
    """From its sigmoid, rounded to 1, it would not."""
    scores = {key: torch.full((1, 1, 1, 1), value) for key, value in
              dict(student=40., teacher=-1.).items()}
    for from_logits, slope in ((True, 1 - sigmoid(-1)), (False, 0)):
        student = dict(feature=torch.zeros(1, 1, 1, 1, requires_grad=True),
                       cls=scores['student'].clone().requires_grad_())
        teacher = dict(feature=torch.zeros(1, 1, 1, 1), cls=scores['teacher'])
        losses = FRSLoss(1., 1., from_logits)(student, teacher)
        sum(losses.values()).backward()
        assert student['cls'].grad.item() == pytest.approx(slope)
        official = 40 * (1 - sigmoid(-1)) if from_logits else 100 * (1 - sigmoid(-1))
        assert losses['cls'].item() == pytest.approx(official)


def test_scale_per_level():
    fine, coarse = (FRSLoss()(*(taps(c=16, k=16, size=size, seed=seed) for seed in (0, 1)))
                    for size in ((32, 32), (8, 8)))
    for name in fine:
        assert (fine[name] / coarse[name]).item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (7, 1)])
def test_small_maps(size):
    student, teacher = pair(n=1, size=size)
    losses = FRSLoss()(student, teacher)
    assert all(x.isfinite() and x > 0 for x in losses.values())


def test_other_sizes_are_resized():
    student, teacher = pair()
    small = taps(size=(2, 3))
    resized = {key: torch.nn.functional.interpolate(x, (3, 5), mode='bilinear')
               for key, x in small.items()}
    assert FRSLoss()(small, teacher) == FRSLoss()(resized, teacher)
    other = dict(teacher, feature=taps(size=(6, 10))['feature'])  # another size than its scores
    assert all(x.isfinite() for x in FRSLoss()(student, other).values())


def test_what_cannot_be_is_told():
    student, teacher = pair()
    for value, has in ((student['feature'], 'one Tensor'),
                       (dict(feature=1, reg=2), 'feature, reg')):
        with pytest.raises(ValueError, match=f'student has no .*cls .it has {has}.*student_tap'):
            FRSLoss()(value, teacher)
    with pytest.raises(ValueError, match='FRSLoss, cls: student has 4 channels, teacher 2'):
        FRSLoss()(student, dict(teacher, cls=teacher['cls'][:, :2]))
    with pytest.raises(ValueError, match='FRSLoss, feature: .*same images'):
        FRSLoss()(student, {key: x[:1] for key, x in teacher.items()})
