"""BEVDistill: what lies where on the map, which places are read, and what awkward batches give."""
import math

import pytest
import torch

from mmkd.models.losses.bev import BEVDistillDenseLoss, BEVDistillRelationLoss
from mmkd.models.losses.bev.bevdistill import predicted_places

RANGE = (-4., -8., 4., 8.)  # 8 x 16 m: x and y differ, so that an exchange of axes shows


def box(x, y, length=1., width=1.):
    return [x, y, 0., length, width, 1., 0.]


def maps(batch=1, channels=3, size=(8, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, batch, channels, *size, generator=generator)


def test_a_box_weighs_the_cell_that_it_lies_in():
    """Cells of 2 m: x = 1, y = 5 is column 2, row 6 of maps (B, C, Y, X)."""
    student, teacher = maps()
    student.requires_grad_()
    loss = BEVDistillDenseLoss()(student, teacher, [torch.tensor([box(1., 5.)])], RANGE)
    weight = BEVDistillDenseLoss().foreground([torch.tensor([box(1., 5.)])], RANGE, student)
    assert weight.shape == (1, 1, 8, 4) and weight[0, 0, 6, 2] == 1
    assert (weight == 1).sum() == 1 and weight[0, 0, 2, 2] == 0
    error = (student - teacher).square().sum(1)
    torch.testing.assert_close(loss, (error * weight[:, 0]).sum() / weight.sum())
    loss.backward()
    assert torch.equal(student.grad.abs().sum(1) > 0, weight[:, 0] > 0)


@pytest.mark.parametrize('boxes', [
    [torch.zeros(0, 9)] * 2, [torch.tensor([box(4.5, 0.)]), torch.tensor([box(0., -8.1)])],
    [torch.tensor([box(math.nan, 0.)]), torch.zeros(0, 7)]], ids=['none', 'outside', 'nan'])
def test_no_box_on_the_map_is_zero(boxes):
    student, teacher = maps(2)
    student.requires_grad_()
    loss = BEVDistillDenseLoss()(student, teacher, boxes, RANGE)
    loss.backward()
    assert loss == 0 and not student.grad.any()


def test_a_sample_without_boxes_changes_nothing():
    student, teacher = maps(2)
    boxes = torch.tensor([box(1., 5.), box(-3., -7.)])
    both = BEVDistillDenseLoss()(student, teacher, [boxes, boxes[:0]], RANGE)
    torch.testing.assert_close(
        both, BEVDistillDenseLoss()(student[:1], teacher[:1], [boxes], RANGE))


def test_a_map_of_other_cells_is_compared_on_the_students():
    boxes = [torch.tensor([box(1., 5.)])]
    student, teacher = torch.ones(1, 2, 8, 4), torch.zeros(1, 2, 16, 8)
    assert BEVDistillDenseLoss()(student, teacher, boxes, RANGE) == 2  # sums over channels


def test_boxes_of_another_batch_are_refused():
    with pytest.raises(ValueError, match='must be 1 tensors'):
        BEVDistillDenseLoss()(*maps(), [torch.zeros(0, 7)] * 2, RANGE)


def test_places_are_where_the_student_predicts_objects():
    heatmaps = [torch.full((2, 2, 8, 4), -9.), torch.full((2, 1, 8, 4), -9.)]
    regs = [torch.zeros(2, 10, 8, 4), torch.zeros(2, 10, 8, 4)]
    heatmaps[1][0, 0, 6, 2], heatmaps[0][1, 1, 1, 3] = 3., 2.
    regs[1][0, :2, 6, 2], regs[0][1, :2, 1, 3] = torch.tensor([.5, .25]), torch.tensor([1., .5])
    places = predicted_places(heatmaps, regs, 1)
    expected = [[[2 * 2.5 / 4 - 1, 2 * 6.25 / 8 - 1]], [[2 * 4. / 4 - 1, 2 * 1.5 / 8 - 1]]]
    torch.testing.assert_close(places, torch.tensor(expected))
    assert predicted_places(heatmaps, regs, 999).shape == (2, 64, 2)


def test_the_relation_reads_both_maps_at_these_places():
    """With projections that change nothing, a place reads its own cell on either side."""
    loss = BEVDistillRelationLoss(T=1., mid_channels=3, student_channels=3, teacher_channels=3)
    student, teacher = maps()
    student.requires_grad_()
    column, row = torch.tensor([2., 0.]), torch.tensor([6., 1.])
    places = torch.stack([2 * (column + .5) / 4 - 1, 2 * (row + .5) / 8 - 1], -1)[None]
    loss.compare(student, teacher, places).backward()
    touched = student.grad.abs().sum((0, 1)) > 1e-9
    assert touched.nonzero().tolist() == [[1, 0], [6, 2]]


def test_equal_places_are_told_apart_by_chance_alone():
    loss = BEVDistillRelationLoss(mid_channels=3, student_channels=3, teacher_channels=3)
    places = torch.zeros(2, 4, 2)
    student, teacher = maps(2)
    value = loss.compare(student[:1].expand(2, -1, -1, -1), teacher[:1].expand(2, -1, -1, -1),
                         places)
    assert value.item() == pytest.approx(math.log(8), rel=1e-3)


@pytest.mark.parametrize('arguments, message', [
    (dict(T=0.), 'temperature'), (dict(num_points=0), 'at least one place'),
    (dict(student_channels=None), 'tap bev'), (dict(teacher_channels=[3]), 'tap bev')])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BEVDistillRelationLoss(**{**dict(student_channels=3, teacher_channels=3), **arguments})


def test_a_missing_tap_is_named():
    loss = BEVDistillRelationLoss(student_channels=3, teacher_channels=3)
    with pytest.raises(ValueError, match='student has no heatmap, reg'):
        loss(dict(bev=maps()[0]), dict(bev=maps()[1]))
