"""TiG-BEV: where keypoints lie, and what is compared."""
import math

import pytest
import torch

from mmkd.models.losses.bev import TiGBEVLoss

RANGE = (-4., -8., 4., 8.)  # 8 x 16 m: x and y differ, so that an exchange of axes shows
CHANNELS = dict(student_channels=3, teacher_channels=3)


def box(x, y, length=2., width=1., yaw=0.):
    return [x, y, 0., length, width, 1., yaw]


def maps(batch=1, channels=3, size=(16, 8), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, batch, channels, *size, generator=generator)


def values(loss, *args):
    return {name: value.item() for name, value in loss(*args).items()}


# ---- keypoints --------------------------------------------------------------------------------
def test_keypoints_are_the_corners_of_the_enlarged_box():
    """Along the heading, 90 degrees from x: the length lies along y."""
    loss = TiGBEVLoss(2, enlarge_width=.5, exact=True, **CHANNELS)
    grid = loss.keypoints(torch.tensor([box(1., 3., yaw=math.pi / 2)]), RANGE, (16, 8))
    metres = (grid + 1) / 2 * torch.tensor([8., 16.]) + torch.tensor(RANGE[:2])
    corners = {(round(x, 3), round(y, 3)) for x, y in metres.view(-1, 2).tolist()}
    assert corners == {(0., 1.5), (2., 1.5), (0., 4.5), (2., 4.5)}


def test_the_official_coordinates_are_off_by_up_to_a_cell():
    """By nothing at the lower end of the range, by a cell at the upper end."""
    boxes = torch.tensor([box(-4., -8., .01, .01), box(0., 0., .01, .01), box(3.4, 7., .01, .01)])
    ours, theirs = (TiGBEVLoss(2, -1, exact=exact, **CHANNELS).keypoints(boxes, RANGE, (16, 8))
                    for exact in (True, False))
    off = (theirs - ours).mean((1, 2)) / 2 * torch.tensor([8., 16.])  # in cells of 1 m
    expected = [[0., 0.], [4 / 7, 8 / 15], [.6, 1.]]  # the last x is held at the border
    torch.testing.assert_close(off, torch.tensor(expected), rtol=0, atol=.01)


def test_keypoints_read_the_cells_under_the_box():
    """A marker in row 12, column 6 of maps (B, C, Y, X) of cells of 1 m is at x = 2.5, y = 4.5."""
    loss = TiGBEVLoss(2, enlarge_width=-1, exact=True, **CHANNELS)
    marked = torch.zeros(1, 1, 16, 8)
    marked[0, 0, 12, 6] = 1
    grid = loss.keypoints(torch.tensor([box(2.5, 4.5, .01, .01), box(4.5, 2.5, .01, .01)]),
                          RANGE, (16, 8))
    assert loss.read(marked, grid).flatten(1).mean(1).tolist() == [pytest.approx(1., abs=.03), 0.]


# ---- the maps ---------------------------------------------------------------------------------
def test_only_cells_near_boxes_receive_a_gradient():
    student, teacher = maps()
    student.requires_grad_()
    loss = TiGBEVLoss(4, enlarge_width=.2, exact=True, **CHANNELS)
    sum(loss(student, teacher, [torch.tensor([box(2., 4.)])], RANGE).values()).backward()
    rows, columns = student.grad.abs().sum((0, 1)).nonzero().unbind(1)
    assert rows.min() == 10 and rows.max() == 13 and columns.min() == 4 and columns.max() == 7


def test_it_is_the_formula_for_each_box():
    """Against products written out for each box."""
    loss = TiGBEVLoss(3, **CHANNELS).double()
    student, teacher = maps(2).double()
    boxes = [torch.tensor([box(1., 2.), box(-2., -5., yaw=1.)]), torch.tensor([box(0., 6.)])]
    expected = dict(inter_keypoint=0., inter_channel=0.)
    for i, rows in enumerate(boxes):
        for grid in loss.keypoints(rows.double(), RANGE, (16, 8)):
            s, t = (loss.read(x[i:i + 1], grid[None])[0].flatten(1) for x in (student, teacher))
            weight = loss.embed.weight[:, :, 0, 0]
            pairs = dict(inter_keypoint=(s.T @ s, t.T @ t))
            s = weight @ s + loss.embed.bias[:, None]
            pairs['inter_channel'] = s @ s.T, t @ t.T
            for name, (a, b) in pairs.items():
                a, b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
                expected[name] += ((a - b) ** 2).sum(1).mean() / 3
    found = loss(student, teacher, boxes, RANGE)
    torch.testing.assert_close(found['inter_keypoint'], 100 * expected['inter_keypoint'])
    torch.testing.assert_close(found['inter_channel'], 10 * expected['inter_channel'])


def test_many_boxes_at_once_or_in_parts_are_the_same(monkeypatch):
    loss, (student, teacher) = TiGBEVLoss(3, **CHANNELS), maps()
    boxes = [torch.tensor([box(x, y) for x in (-3., 0., 3.) for y in (-6., 0., 6.)])]
    student.requires_grad_()
    results = []
    for count in (2, 99):
        monkeypatch.setattr('mmkd.models.losses.bev.tig_bev.AT_ONCE', count)
        value = sum(loss(student, teacher, boxes, RANGE).values())
        results.append((value, *torch.autograd.grad(value, student)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('boxes', [torch.zeros(0, 9), torch.tensor([box(math.nan, 0.)])])
def test_no_box_is_zero_for_every_parameter(boxes):
    loss, (student, teacher) = TiGBEVLoss(3, **CHANNELS), maps(2)
    student.requires_grad_()
    total = sum(loss(student, teacher, [boxes] * 2, RANGE).values())
    total.backward()
    assert total == 0 and not student.grad.any() and not loss.embed.weight.grad.any()


def test_a_sample_without_boxes_and_a_broken_box_change_nothing():
    loss, (student, teacher) = TiGBEVLoss(3, **CHANNELS), maps(2)
    boxes = torch.tensor([box(1., 2.), box(-2., -5.)])
    expected = values(loss, student[:1], teacher[:1], [boxes], RANGE)
    broken = torch.cat([boxes, torch.full((1, 7), math.nan)])
    assert values(loss, student, teacher, [broken, boxes[:0]], RANGE) == pytest.approx(expected)


def test_a_box_beyond_the_map_is_finite():
    loss, (student, teacher) = TiGBEVLoss(3, **CHANNELS), maps()
    student.requires_grad_()
    total = sum(loss(student, teacher, [torch.tensor([box(99., -99.)])], RANGE).values())
    total.backward()
    assert torch.isfinite(total) and torch.isfinite(student.grad).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match='at least 2 keypoints'):
        TiGBEVLoss(1, **CHANNELS)
    with pytest.raises(ValueError, match='two numbers are needed'):
        TiGBEVLoss(teacher_channels=3)
