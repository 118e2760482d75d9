"""MonoDistill: which cells imitate, and the affinity of all pairs, in tiles."""
import math

import pytest
import torch

from mmkd.models.losses.feature import MonoDistillLoss
from mmkd.models.losses.relation import gram

SIZE = (32, 48)


def pyramid(seed=0, batch=2, sizes=((8, 12), (4, 6))):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 3, *size, generator=generator) for size in sizes]


def leaves(maps):
    return [x.detach().clone().requires_grad_() for x in maps]


def imitation(student, teacher, boxes):
    return MonoDistillLoss(1., 0.)(student, teacher, boxes, SIZE)['imitation']


def test_the_cells_of_a_box():
    """Cells of 4 pixels: x from 4 to 15 is columns 1 and 2, y from 6 to 13 rows 1 and 2."""
    student, teacher = leaves(pyramid()[:1]), pyramid(1)[:1]
    boxes = [torch.tensor([[4., 6., 15., 13.]]), torch.zeros(0, 4)]
    loss = imitation(student, teacher, boxes)
    error = (student[0] - teacher[0])[0, :, 1:3, 1:3].square().mean()
    torch.testing.assert_close(loss, .5 * error / 2)
    loss.backward()
    assert (student[0].grad.abs().sum((0, 1)) > 0).nonzero().tolist() == [
        [1, 1], [1, 2], [2, 1], [2, 2]]


def test_what_the_teacher_does_not_see_does_not_count():
    student, teacher = pyramid()[:1], pyramid(1)[:1]
    boxes = [torch.tensor([[4., 6., 15., 13.]]), torch.zeros(0, 4)]
    teacher[0][0, :, 1, 1], teacher[0][0, 0, 2, 2] = 0., 0.  # one channel makes no cell empty
    error = (student[0] - teacher[0])[0].square().mean(0)
    torch.testing.assert_close(imitation(student, teacher, boxes),
                               .5 * (error[1, 2] + error[2, 1] + error[2, 2]) / 3 / 2)


@pytest.mark.parametrize('box', [None, [60., 0., 70., 9.], [-20., -20., -5., -5.],
                                 [1., 1., 3., 3.], [math.nan, 0., 9., 9.], [9., 9., 5., 5.]],
                         ids=['none', 'right of it', 'above', 'within a cell', 'nan', 'turned'])
def test_no_cell_is_zero(box):
    student, teacher = leaves(pyramid()), pyramid(1)
    boxes = [torch.tensor([box] if box else []).reshape(-1, 4)] * 2
    loss = imitation(student, teacher, boxes)
    loss.backward()
    assert loss == 0 and all(not x.grad.any() for x in student)


def test_a_box_beyond_the_picture_is_cut_at_it():
    student, teacher = pyramid(), pyramid(1)
    beyond, cut = ([torch.tensor([box])] * 2 for box in ([-9., -3., 99., 17.], [0., 0., 48., 17.]))
    torch.testing.assert_close(imitation(student, teacher, beyond),
                               imitation(student, teacher, cut))


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_where_the_teacher_is_nan_there_is_no_difference(dtype):
    student, teacher = leaves(x.to(dtype) for x in pyramid()), [x.to(dtype) for x in pyramid(1)]
    same = [x.detach().clone() for x in student]
    teacher[0][:] = math.nan
    losses = MonoDistillLoss()(student[:1], teacher[:1], [torch.tensor([[0., 0., 48., 32.]])] * 2,
                               SIZE)
    sum(losses.values()).backward()
    assert all(x == 0 for x in losses.values()) and not student[0].grad.any()
    teacher[0][:] = same[0] + 1
    teacher[0][0, 0, 1, 1] = math.nan
    losses = MonoDistillLoss()(student, teacher, [torch.tensor([[0., 0., 48., 32.]])] * 2, SIZE)
    assert all(torch.isfinite(x) and x > 0 for x in losses.values())


def dense(student, teacher):
    s, t = student.flatten(2), teacher.flatten(2)
    return (s.mT @ s - t.mT @ t).abs().mean((1, 2)).sum()


@pytest.mark.parametrize('tile', [1, 700, 10 ** 9])
def test_affinity_in_tiles_is_that_of_all_pairs(monkeypatch, tile):
    monkeypatch.setattr(gram, 'TILE_BYTES', tile)
    student, teacher = (x.double() for x in (pyramid()[0], pyramid(1)[0]))
    teacher[:, :, 0] = student[:, :, 0]  # equal pairs have no slope
    one, other = leaves([student, student])
    torch.testing.assert_close(gram.gram_l1(one, teacher), dense(other, teacher))
    gram.gram_l1(one, teacher).backward()
    dense(other, teacher).backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_affinity_holds_no_map_of_all_pairs():
    seen = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            seen.append(out.numel() if isinstance(out, torch.Tensor) else 0)
            return out

    student, teacher = torch.randn(2, 1, 2, 60, 60)
    with Watch():
        gram.gram_l1(student.requires_grad_(), teacher)
    assert max(seen) * 4 <= gram.TILE_BYTES < 3600 ** 2 * 4


def test_affinity_is_compared_on_the_last_level():
    student, teacher = pyramid(), pyramid(1)
    small = [torch.nn.functional.interpolate(x[0], (4, 6), mode='bilinear')
             for x in (student, teacher)]
    losses = MonoDistillLoss(imitation_weight=0., affinity_weight=2.)
    assert losses.unused_extras == ('boxes', 'padded_size')
    expected = (dense(*small) + dense(student[1], teacher[1])) / 4
    torch.testing.assert_close(losses(student, teacher), dict(affinity=2 * expected))


def test_other_levels_are_refused():
    with pytest.raises(ValueError, match='2 levels, teacher 1'):
        MonoDistillLoss()(pyramid(), pyramid()[:1], [torch.zeros(0, 4)] * 2, SIZE)
