"""boxes_to_bev_mask on boxes that cover nothing, and on input that it refuses."""
import pytest
import torch

from mmkd.ops.bev_masks import boxes_to_bev_mask

from .common import DEVICES

RANGE, GRID = (-4., -3., -5., 4., 3., 3.), (16, 12)
BOXES = torch.zeros(4, 7)
INTEGERS = torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize('device', DEVICES)
def test_no_boxes(device):
    none = torch.zeros(0, 7, device=device)
    result = boxes_to_bev_mask([none, none], RANGE, GRID, labels=[none[:, 0].long()] * 2)
    assert not result.mask.any() and (result.instance == -1).all() and (result.label == -1).all()
    assert not result.paint(torch.zeros(0, device=device)).any()
    assert not boxes_to_bev_mask(none, RANGE, GRID).mask.any()


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('column', [0, 1, 3, 4, 6])
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_box_that_is_not_finite_covers_nothing(device, column, value):
    boxes = torch.tensor([[0., 0, 0, 100, 100, 1, 0], [0, 0, 0, 2, 2, 1, 0]], device=device)
    boxes[0, column] = value
    assert boxes_to_bev_mask(boxes, RANGE, GRID).instance.unique().tolist() == [-1, 1]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('size', [(0., 5.), (5., 0.), (-2., 2.), (-2., -2.)])
def test_box_without_a_size_covers_nothing(device, size):
    boxes = torch.tensor([[.25, .25, 0, *size, 1, 0.]], device=device)  # at a cell's center
    assert not boxes_to_bev_mask(boxes, RANGE, GRID).mask.any()


@pytest.mark.parametrize('device', DEVICES)
def test_huge_values(device):
    boxes = torch.tensor([[3e38, 0, 0, 1, 1, 1, .3], [0, 0, 0, 3e38, 3e38, 1, 0],
                          [1e20, 0, 0, 1e20, 1, 1, 1e30]], device=device)
    assert boxes_to_bev_mask(boxes[:1], RANGE, GRID).instance.eq(-1).all()
    assert boxes_to_bev_mask(boxes, RANGE, GRID).instance.eq(1).all()
    assert boxes_to_bev_mask(boxes[1:2], RANGE, GRID, scale=100.).instance.eq(-1).all()


@pytest.mark.parametrize(('change', 'message'), [
    (dict(boxes=torch.zeros(4, 6)), 'at least the columns x, y, z, dx, dy, dz, yaw'),
    (dict(boxes=torch.zeros(7)), r'shape \(K, C\)'),
    (dict(boxes=torch.zeros(4, 7).long()), 'must be float32'),
    (dict(boxes=[]), 'list of boxes is empty'),
    (dict(boxes=[BOXES, torch.zeros(2, 9)]), r'boxes\[1\] .* does not go with boxes\[0\]'),
    (dict(boxes=[BOXES, BOXES.double()]), r'boxes\[1\] .* does not go with boxes\[0\]'),
    (dict(boxes=[BOXES], batch_size=2), 'batch_size is 2'),
    (dict(boxes=[BOXES], batch_index=INTEGERS), 'has its batch index already'),
    (dict(boxes=[BOXES], labels=INTEGERS), 'labels must be a list'),
    (dict(boxes=[BOXES, BOXES], labels=[INTEGERS]), 'one entry for each box'),
    (dict(boxes=[BOXES], scale=[torch.ones(3)]), 'one entry for each box'),
    (dict(point_cloud_range=(0, 0, 0, 0, 1, 1)), 'from 0.0 to 0.0 along x'),
    (dict(point_cloud_range=(0, 0, 1, 1)), '6 finite numbers'),
    (dict(grid_size=(0, 4)), 'grid_size X must be at least 1'),
    (dict(grid_size=(4, 4, 1)), r'2 integers \(X, Y\)'),
    (dict(grid_size=4), r'2 integers \(X, Y\), not 4'),
    (dict(grid_size=(4, 2.5)), 'grid_size Y must be an integer'),
    (dict(batch_size=3), 'needs a batch_index'),
    (dict(batch_index=INTEGERS[:3]), r'batch_index must have shape \(4\)'),
    (dict(batch_index=INTEGERS + 2, batch_size=2), r'must lie in \[0, 2\)'),
    (dict(batch_index=INTEGERS - 1, batch_size=2), r'must lie in \[0, 2\)'),
    (dict(batch_index=INTEGERS.float()), 'must be int32'),
    (dict(at='centre'), "must be one of 'center', 'corner'"),
    (dict(scale=torch.ones(3)), r'scale must have shape \(4\)'),
    (dict(scale=float('nan')), 'scale must be a finite number, not nan'),
    (dict(scale=[1., 2.]), r'scale must be a finite number, not \[1.0, 2.0\]'),
    (dict(labels=INTEGERS[:2]), r'labels must have shape \(4\)'),
    (dict(labels=torch.zeros(4, device='meta').long()), 'different devices'),
])
def test_refuses(change, message):
    arguments = dict(boxes=BOXES, point_cloud_range=(0, 0, 0, 1, 1, 1), grid_size=(4, 4))
    with pytest.raises(ValueError, match=f'boxes_to_bev_mask: .*{message}'):
        boxes_to_bev_mask(**{**arguments, **change})
