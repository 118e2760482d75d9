"""CRKD: which cells lie in which boxes, what the heads are compared at, and awkward batches."""
import math

import pytest
import torch

from mmkd.models.losses.bev import CRKDAffinityLoss, CRKDFeatureLoss, CRKDResponseLoss

RANGE = (-40., -20., 40., 20.)  # cells of 2 m on maps of 20 x 40: x and y differ


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def box(x, y, dx=4., dy=4., yaw=0., vx=0., vy=0.):
    return [x, y, 0., dx, dy, 1.5, yaw, vx, vy]


def maps(batch=1, dtype=torch.float32):
    return draw(batch, 3, 20, 40).to(dtype), draw(batch, 3, 20, 40, seed=1).to(dtype)


def touched(boxes, **settings):
    """Numbers of rows and columns with a gradient, and the first of each."""
    student, teacher = maps(len(boxes))
    student.requires_grad_()
    CRKDFeatureLoss(**settings)(student, teacher, boxes, RANGE).backward()
    cells = (student.grad.abs().sum(1) > 0).nonzero()
    if not len(cells):
        return None
    low, high = cells.amin(0), cells.amax(0)
    return low[1:].tolist(), (high - low + 1)[1:].tolist()


# ---- features in boxes ------------------------------------------------------------------------
def test_the_cells_of_a_box():
    """x from 2 to 10 is columns 21 to 24, y from -4 to 0 rows 8 and 9."""
    boxes = [torch.tensor([box(6., -2., 8., 4.)])]
    assert touched(boxes, enlarge=False) == ([8, 21], [2, 4])
    student, teacher = maps()
    error = (student - teacher)[0, :, 8:10, 21:25].square().mean()
    torch.testing.assert_close(CRKDFeatureLoss(False)(student, teacher, boxes, RANGE), .5 * error)


def test_a_turned_box_has_the_rectangle_around_it():
    turned = [torch.tensor([box(6., -2., 8., 4., math.pi / 2)])]
    assert touched(turned, enlarge=False) == ([7, 22], [4, 2])
    corner = [torch.tensor([box(6., -2., 4 * 2 ** .5, 4 * 2 ** .5, math.pi / 4)])]
    assert touched(corner, enlarge=False)[1] == [4, 4]


@pytest.mark.parametrize('place, velocity, growth', [
    (6., (0., 0.), .5), (6., (.2, .2), .5), (6., (.2, .3), .25 * 8), (6., (0., -.8), .5 * 8),
    (24., (0., 0.), .25 * 8), (34., (0., 0.), .5 * 8), (34., (.9, 0.), 4.),
    (24., (.5, 0.), .5 * 8), (6., (math.nan, 0.), .5)])
def test_boxes_grow_with_distance_and_speed(place, velocity, growth):
    boxes = torch.tensor([box(place, 0., 8., 8., 0., *velocity)])
    x0, y0, x1, y1 = CRKDFeatureLoss().rectangles(boxes, RANGE, (20, 40))[0].tolist()
    assert ((x1 - x0) * 2, (y1 - y0) * 2) == pytest.approx((8 + growth, 8 + growth), rel=1e-5)
    still = CRKDFeatureLoss().rectangles(boxes[:, :7], RANGE, (20, 40))[0]
    assert float(still[2] - still[0]) * 2 <= 8 + growth + 1e-4


@pytest.mark.parametrize('boxes', [
    [[], []], [[box(60., 0.)], [box(0., -30.)]], [[box(math.nan, 0.)], []]],
    ids=['none', 'outside', 'nan'])
def test_no_cell_is_zero(boxes):
    boxes = [torch.tensor(some).reshape(-1, 9) for some in boxes]
    student, teacher = maps(2)
    student.requires_grad_()
    loss = CRKDFeatureLoss()(student, teacher, boxes, RANGE)
    loss.backward()
    assert loss == 0 and not student.grad.any()


def test_a_sample_without_boxes_halves_it():
    student, teacher = maps(2)
    boxes = torch.tensor([box(6., -2.)])
    both = CRKDFeatureLoss()(student, teacher, [boxes, boxes[:0]], RANGE)
    alone = CRKDFeatureLoss()(student[:1], teacher[:1], [boxes], RANGE)
    torch.testing.assert_close(both, alone / 2)


def test_what_the_teacher_does_not_see_does_not_count():
    student, teacher = maps()
    boxes = [torch.tensor([box(6., -2., 4., 4.)])]
    teacher[0, :, 8, 22], teacher[0, 0, 9, 23] = 0., math.nan
    gap = (student - teacher)[0, :, 8:10, 22:24].nan_to_num(0.).square().mean(0)
    expected = .5 * (gap.sum() - gap[0, 0]) / 3
    torch.testing.assert_close(CRKDFeatureLoss(False)(student, teacher, boxes, RANGE), expected)


def test_boxes_of_another_batch_are_refused():
    with pytest.raises(ValueError, match='must be 1 tensors'):
        CRKDFeatureLoss()(*maps(), [torch.zeros(0, 9)] * 2, RANGE)


# ---- affinity ---------------------------------------------------------------------------------
def test_affinity_is_a_mean_over_pairs_and_trains_its_adapters():
    loss = CRKDAffinityLoss((4, 2), student_channels=3)
    student, teacher = maps(2)
    loss(student, teacher).backward()
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())
    plain = CRKDAffinityLoss((4,), adapt=False)
    s, t = (torch.nn.functional.interpolate(x, (4, 4), mode='bilinear').flatten(2)
            for x in (student, teacher))
    torch.testing.assert_close(plain(student, teacher),
                               (s.mT @ s - t.mT @ t).abs().mean() / 2)


def test_bad_sizes():
    for sizes in ((), (0,)):
        with pytest.raises(ValueError, match='numbers of cells'):
            CRKDAffinityLoss(sizes, adapt=False)
    with pytest.raises(ValueError, match='student_channels'):
        CRKDAffinityLoss(student_channels=[3, 4])


# ---- heads ------------------------------------------------------------------------------------
def heads(shift=0., classes=(2, 1), seed=0, dtype=torch.float32):
    return dict(heatmap=[(draw(2, k, 3, 4, seed=seed + k) + shift).to(dtype) for k in classes],
                reg=[draw(2, 10, 3, 4, seed=seed + 9 + k).to(dtype) for k in classes])


def test_boxes_are_compared_where_the_teacher_is_sure():
    student, teacher = heads(classes=(2,)), heads(-20., (2,), 50)
    teacher['heatmap'][0][1, 1, 2, 3] = 2.
    student['reg'][0].requires_grad_()
    loss = CRKDResponseLoss((3.,))(student, teacher)['reg']
    sure = torch.tensor(2.).sigmoid() + 1e-4
    smooth = torch.nn.functional.smooth_l1_loss(student['reg'][0][1, :, 2, 3],
                                                teacher['reg'][0][1, :, 2, 3], reduction='sum')
    torch.testing.assert_close(loss, 3 * 4 * smooth * sure)
    loss.backward()
    assert (student['reg'][0].grad.abs().sum(1) > 0).nonzero().tolist() == [[1, 2, 3]]


@pytest.mark.parametrize('probability, count', [(.095, 1), (.05, 1), (None, 24)])
def test_the_threshold_is_lowered_until_a_cell_is_above_it(probability, count):
    """Without one that is more sure than the others it is lowered to 0: all cells."""
    student, teacher = heads(classes=(1,)), heads(-20., (1,), 50)
    if probability:
        teacher['heatmap'][0][0, 0, 1, 1] = math.log(probability / (1 - probability))
    student['reg'][0].requires_grad_()
    CRKDResponseLoss(None)(student, teacher)['reg'].backward()
    assert (student['reg'][0].grad.abs().sum(1) > 0).sum() == count


def test_equal_heatmaps_and_boxes_are_no_difference():
    """Once through a sigmoid; twice, the student's would be compared with another's."""
    student = heads()
    once = CRKDResponseLoss((1., 1.), sigmoid_twice=False)(student, student)
    assert once['cls'] == 0 and once['reg'] == 0
    assert CRKDResponseLoss((1., 1.))(student, student)['cls'] > 0


@pytest.mark.parametrize('shift', [-1e4, 0., 1e4, math.nan])
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_heads_are_finite(shift, dtype):
    student, teacher = heads(dtype=dtype), heads(shift, seed=50, dtype=dtype)
    for x in (*student['heatmap'], *student['reg']):
        x.requires_grad_()
    losses = CRKDResponseLoss((1., 1.))(student, teacher)
    assert math.isnan(shift) or all(torch.isfinite(x) and x.dtype == torch.float32
                                    for x in losses.values())
    sum(losses.values()).backward()
    assert all(torch.isfinite(x.grad).all() for x in student['reg'])


def test_weights_must_be_those_of_the_tasks():
    with pytest.raises(ValueError, match='6 task_weights'):
        CRKDResponseLoss()(heads(), heads())
    with pytest.raises(ValueError, match='student has no heatmap'):
        CRKDResponseLoss()(dict(reg=[]), heads())
