"""LiDAR Distillation: which cells a box has, and awkward batches."""
import math

import pytest
import torch

from mmkd.models.losses.bev import LiDARDistillationLoss

RANGE = (-6., -8., 6., 8.)  # cells of 2 m on maps of 8 x 6


def maps(batch=1):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, batch, 3, 8, 6, generator=generator)


def box(x, y, dx, dy, yaw=0.):
    return [x, y, 0., dx, dy, 1., yaw]


@pytest.mark.parametrize('yaw', [0., 1.5])
def test_a_box_has_the_cells_whose_lower_edge_is_in_it(yaw):
    """x from -2 to 1.9 is columns 2 and 3, y from 0 to 4 rows 4, 5 and 6; the yaw is ignored."""
    student, teacher = maps()
    distance = (student - teacher).norm(dim=1)[0, 4:7, 2:4].mean()
    boxes = [torch.tensor([box(-.05, 2., 3.9, 4., yaw)])]
    torch.testing.assert_close(LiDARDistillationLoss()(student, teacher, boxes, RANGE), distance)


@pytest.mark.parametrize('boxes', [[[], []], [[box(9., 9., 2., 2.)], []],
                                   [[box(-5., -7., 1., 1.)], []],
                                   [[box(math.nan, 0., 1., 1.)], []]],
                         ids=['none', 'outside', 'between lower edges', 'nan'])
def test_no_cell_is_zero(boxes):
    student, teacher = maps(2)
    student.requires_grad_()
    loss = LiDARDistillationLoss()(student, teacher,
                                   [torch.tensor(some).reshape(-1, 7) for some in boxes], RANGE)
    loss.backward()
    assert loss == 0 and not student.grad.any()


def test_samples_are_divided_by_the_most_boxes():
    student, teacher = maps(2)
    one = torch.tensor([box(-.05, 2., 3.9, 4.)])
    both = LiDARDistillationLoss()(student, teacher, [one.repeat(3, 1), one[:0]], RANGE)
    alone = LiDARDistillationLoss()(student[:1], teacher[:1], [one], RANGE)
    torch.testing.assert_close(both, alone / 2)


def test_settings():
    student, teacher = maps()
    loss = LiDARDistillationLoss('all')
    torch.testing.assert_close(loss(student, teacher), (student - teacher).norm(dim=1).mean())
    assert loss.unused_extras == ('boxes_3d', 'bev_range')
    with pytest.raises(ValueError, match="mode='gt'"):
        LiDARDistillationLoss('gt')
    with pytest.raises(ValueError, match='must be 1 tensors'):
        LiDARDistillationLoss()(student, teacher, [torch.zeros(0, 7)] * 2, RANGE)
