"""SimDistill: what is counted, and what goes through a sigmoid how often."""
import pytest
import torch

from mmkd.models.losses.bev import SimDistillResponseLoss


def maps(batch=2, classes=3, size=(2, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, classes, *size, generator=generator, dtype=torch.float64)


def focal(s, t):
    return -(t * s.log() + (1 - t) * (1 - s).log()) * (s - t) ** 2


def test_once_and_counted_by_class():
    student, teacher = maps(), maps(seed=1)
    teacher[0, 1], teacher[1, 0, 0, 0] = -9., -9.  # of one class in one sample nothing counts
    expected = sum(focal(student[b, k].sigmoid(), teacher[b, k].sigmoid()).sum()
                   / max(1, int((teacher[b, k].sigmoid() > .3).sum()))
                   for b in range(2) for k in range(3))
    loss = SimDistillResponseLoss(.3, sigmoid_twice=False, mixed=False)
    torch.testing.assert_close(loss([student], [teacher]), expected)


def test_mixed_counts_every_kth_cell():
    """Eight cells and three classes, which is no whole number of rows."""
    student, teacher = maps(1), maps(1, seed=1)
    expected = 0
    for k in range(3):
        s, t = student[0, k].flatten().sigmoid(), teacher[0, k].flatten().sigmoid()
        for i in range(8):
            expected += focal(s[i], t[i]) / max(1, int((t[i % 3::3] > .6).sum()))
    loss = SimDistillResponseLoss(.6, sigmoid_twice=False)
    torch.testing.assert_close(loss([student], [teacher]), expected)


def test_twice():
    student, teacher = maps(size=(3, 3)), maps(size=(3, 3), seed=1)
    s, t = (x.sigmoid().clamp(1e-4, 1 - 1e-4).sigmoid() for x in (student, teacher))
    torch.testing.assert_close(SimDistillResponseLoss()([student], [teacher]),
                               focal(s, t).sum() / 3)  # all nine cells count, in threes


def test_tasks_and_samples_are_added_up():
    student, teacher = maps(), maps(seed=1)
    loss = SimDistillResponseLoss()
    both = loss([student, student[:, :1]], [teacher, teacher[:, :1]])
    torch.testing.assert_close(both, loss([student], [teacher]) + sum(
        loss([student[i:i + 1, :1]], [teacher[i:i + 1, :1]]) for i in range(2)))


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('settings', [{}, dict(sigmoid_twice=False, mixed=False)])
def test_a_teacher_that_sees_nothing_is_finite(dtype, settings):
    student = maps().to(dtype).requires_grad_()
    loss = SimDistillResponseLoss(**settings)([student], [torch.full_like(student, -6e4)])
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(student.grad).all()


def test_other_tasks_are_refused():
    with pytest.raises(ValueError, match='2 levels, teacher 1'):
        SimDistillResponseLoss()([maps()] * 2, [maps()])
