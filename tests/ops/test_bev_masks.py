"""boxes_to_bev_mask: the cells that rotated boxes cover, and which box comes first."""
import json
import math

import numpy as np
import pytest
import torch

from mmkd.ops.bev_masks import bev_mask_reference, boxes_to_bev_mask

from .common import DEVICES, FLOATS, RECORDED, assert_repeatable, on, recorded

RANGE, GRID = (-4., -3., -5., 4., 3., 3.), (16, 12)


def traffic(count, seed=0, dtype=torch.float32, device='cpu'):
    g = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 9, generator=g) * torch.tensor([8., 6, 2, 3, 2, 2, 20, 1, 1])
    return (boxes - torch.tensor([4., 3, 1, 0, 0, 0, 10, 0, 0])).to(device, dtype)


def samples_of(count, batch_size, device='cpu'):
    """Unsorted samples; the last one is empty."""
    g = torch.Generator().manual_seed(1)
    return torch.randint(0, max(1, batch_size - 1), (count,), generator=g).to(device)


def slow(boxes, batch_index, batch_size, offset):
    """By the four edges of each box in float64; nothing lies on an edge here."""
    instance = np.full((batch_size, GRID[1], GRID[0]), -1)
    for k, box in enumerate(boxes.double().tolist()):
        x, y, _, dx, dy, _, yaw = box[:7]
        heading = np.array([math.cos(yaw), math.sin(yaw)])
        left = np.array([-heading[1], heading[0]])
        corners = [np.array([x, y]) + a * dx / 2 * heading + b * dy / 2 * left
                   for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        for row in range(GRID[1]):
            for column in range(GRID[0]):
                point = np.array([(column + offset) / 2 - 4, (row + offset) / 2 - 3])
                turns = []
                for i in range(4):
                    (ax, ay), (bx, by) = corners[(i + 1) % 4] - corners[i], point - corners[i]
                    turns.append(ax * by - ay * bx)
                cell = instance[int(batch_index[k])]
                if min(turns) > 0 and cell[row, column] < 0:
                    cell[row, column] = k
    return torch.from_numpy(instance)


def columns_and_rows(mask):
    rows, columns = mask[0].nonzero().unbind(1)
    return sorted(zip(columns.tolist(), rows.tolist(), strict=True))


@pytest.mark.parametrize('device', DEVICES)
def test_hand_computed(device):
    bounds, grid = (0, 0, 0, 4, 3, 1), (4, 3)  # cells of 1 m: centers at .5, 1.5, ...

    def cells(*box, **options):
        boxes = torch.tensor([box], device=device)
        return columns_and_rows(boxes_to_bev_mask(boxes, bounds, grid, **options).mask)

    along_x = [(1, 1), (2, 1)]
    assert cells(2., 1.5, 0, 1.2, .2, 1, 0.) == along_x
    assert cells(2., 1.5, 0, .2, 1.2, 1, math.pi / 2) == along_x
    # Counter-clockwise: at 45 degrees the heading goes up the diagonal.
    assert cells(1.5, 1.5, 0, 4., .3, 1, math.pi / 4) == [(0, 0), (1, 1), (2, 2)]
    assert cells(1.5, 1.5, 0, 4., .3, 1, -math.pi / 4) == [(0, 2), (1, 1), (2, 0)]
    # Its edges are outside, here at x = 1.5 and 2.5.
    assert cells(2., 1.5, 0, 1., .2, 1, 0.) == []
    assert cells(2., 1.5, 0, 1., .2, 1, 0., scale=1.01) == along_x
    # Lower corners are at 0, 1, 2, 3.
    assert cells(1.9, 1.1, 0, .3, .3, 1, 0., at='corner') == [(2, 1)]
    assert cells(1.9, 1.1, 0, .3, .3, 1, 0.) == []


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(('at', 'offset'), [('center', .5), ('corner', 0)])
def test_against_slow_loop(device, at, offset):
    boxes, batch_index = traffic(40), samples_of(40, 3)
    got = boxes_to_bev_mask(boxes.to(device), RANGE, GRID, batch_index.to(device), 3, at=at)
    expected = slow(boxes, batch_index, 3, offset)
    assert torch.equal(got.instance.cpu(), expected)
    assert torch.equal(got.mask.cpu(), expected >= 0)
    assert got.label is None and not got.mask[2].any()


@pytest.mark.parametrize('at', ['center', 'corner'])
def test_against_mmcv(at):
    ops = pytest.importorskip('mmcv.ops', reason='compares with mmcv')
    boxes = traffic(60)[:, :7].contiguous()
    offset = .5 if at == 'center' else 0
    y, x = torch.meshgrid((torch.arange(60) + offset) / 10 - 3,
                          (torch.arange(80) + offset) / 10 - 4, indexing='ij')
    points = torch.stack([x, y, torch.full_like(x, .5)], -1).view(1, -1, 3)
    flat = boxes.clone()
    flat[:, 2], flat[:, 5] = 0, 1
    inside = ops.points_in_boxes_cpu(points, flat[None])[0].bool()
    first = torch.where(inside.any(1), inside.int().argmax(1), -1).view(60, 80)
    assert len(first.unique()) > 30
    got = boxes_to_bev_mask(boxes, RANGE, (80, 60), at=at)
    assert torch.equal(got.instance[0], first)


@pytest.mark.parametrize('device', DEVICES)
def test_against_the_recorded_masks_of_distillbev(device):
    case = recorded('distillbev_ordinary', device)
    grid = json.loads((RECORDED / 'distillbev_ordinary.json').read_text())['grid']
    boxes, sample, mask, scale = (case[k] for k in (
        'boxes_new', 'box_sample', 'fg_mask', 'fg_scale'))
    bounds = grid['point_cloud_range']
    rows, columns = mask.shape[2:]
    area = (bounds[3] - bounds[0]) / columns * (bounds[4] - bounds[1]) / rows
    got = boxes_to_bev_mask(boxes, bounds, (columns, rows), sample, len(mask), at='corner')
    assert torch.equal(got.mask, mask[:, 0] > 0)
    weight = got.paint((area / (boxes[:, 3] * boxes[:, 4])).sqrt())
    torch.testing.assert_close(weight, scale[:, 0], rtol=3e-7, atol=0)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
def test_kernel_against_reference(device, dtype):
    boxes, batch_index = traffic(200, dtype=dtype), samples_of(200, 4)
    got = on(device, boxes_to_bev_mask, boxes, RANGE, (80, 60), batch_index, 4).instance
    wide = boxes if dtype == torch.float64 else boxes.float()
    footprint = torch.cat([wide[:, :2], wide[:, 3:5] / 2, wide[:, 6:7].cos(),
                           wide[:, 6:7].sin()], 1)
    xs, ys = (((torch.arange(n, dtype=torch.float64) + .5) * .1 + low).to(
        wide.dtype) for n, low in ((80, -4), (60, -3)))
    assert len(got.unique()) > 50
    assert torch.equal(got, bev_mask_reference(footprint, batch_index, xs, ys, 4))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('shift', [0., 50.])
def test_a_corner_on_the_tested_point(device, dtype, shift):
    """The point may come out inside by rounding although no edge of the bounding rectangle lies
    beyond it: each of many boxes has a map of one cell to itself, with a corner there."""
    count = 40_000
    g = torch.Generator().manual_seed(0)
    half = torch.rand(count, 2, generator=g, dtype=torch.float64).to(dtype) * 3 + .1
    yaw = torch.rand(count, generator=g, dtype=torch.float64).to(dtype) * 7
    sign = torch.randint(0, 2, (count, 2), generator=g) * 2 - 1
    (along, across), cosine, sine = (half * sign).unbind(1), yaw.cos(), yaw.sin()
    point = torch.full((1,), shift, dtype=dtype)
    center = torch.stack([shift - (cosine * along - sine * across),
                          shift - (sine * along + cosine * across)], 1)
    boxes = torch.cat([center, half, cosine[:, None], sine[:, None]], 1)
    case = boxes, torch.arange(count), point, point, count
    expected = bev_mask_reference(*case)
    assert 1000 < (expected >= 0).sum() < count - 1000
    assert torch.equal(on(device, torch.ops.mmkd.bev_mask, *case), expected)


@pytest.mark.parametrize('device', DEVICES)
def test_scale_enlarges_each_box(device):
    boxes = traffic(20, device=device)
    scale = torch.linspace(.5, 2, 20, device=device)
    larger = boxes.clone()
    larger[:, 3:5] *= scale[:, None]
    got = boxes_to_bev_mask(boxes, RANGE, GRID, scale=scale)
    assert torch.equal(got.instance, boxes_to_bev_mask(larger, RANGE, GRID).instance)
    assert not torch.equal(got.mask, boxes_to_bev_mask(boxes, RANGE, GRID).mask)
    larger[:, 3:5] = boxes[:, 3:5] * 2
    assert torch.equal(boxes_to_bev_mask(boxes, RANGE, GRID, scale=2).instance,
                       boxes_to_bev_mask(larger, RANGE, GRID).instance)


@pytest.mark.parametrize('device', DEVICES)
def test_list_of_samples_and_labels(device):
    parts = [traffic(n, seed=n, device=device) for n in (0, 7, 12, 0)]
    labels = [torch.arange(len(p), device=device) + 3 for p in parts]
    scales = [torch.full((len(p),), 1.5, device=device) for p in parts]
    sample = torch.tensor([1] * 7 + [2] * 12, device=device)
    got = boxes_to_bev_mask(parts, RANGE, GRID, labels=labels, scale=scales)
    expected = boxes_to_bev_mask(torch.cat(parts), RANGE, GRID, sample, 4, scale=1.5,
                                 labels=torch.cat(labels).int())
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert got.mask.shape == (4, 12, 16) and got.mask[1].any() and not got.mask[[0, 3]].any()
    by_hand = torch.where(got.mask, torch.cat(labels)[got.instance], -1)
    assert torch.equal(got.label, by_hand) and got.label.dtype == torch.int64


@pytest.mark.parametrize('device', DEVICES)
def test_paint_puts_values_of_any_shape_on_the_map(device):
    boxes = traffic(9, device=device)
    values = torch.randn(9, 2, device=device, requires_grad=True)
    result = boxes_to_bev_mask(boxes, RANGE, GRID)
    painted = result.paint(values, -7)
    assert painted.shape == (1, 12, 16, 2) and not painted.requires_grad
    assert torch.equal(painted[result.mask], values[result.instance[result.mask]])
    assert (painted[~result.mask] == -7).all()


@pytest.mark.parametrize('device', DEVICES)
def test_kernel_skips_samples_outside_the_batch(device):
    footprint = torch.tensor([[0., 0, 9, 9, 1, 0]] * 3, device=device)
    batch_index = torch.tensor([-1, 2, 1], device=device)
    xs = ys = torch.linspace(-1, 1, 4, device=device)
    got = torch.ops.mmkd.bev_mask(footprint, batch_index, xs, ys, 2)
    assert got.flatten(1).unique(dim=1).tolist() == [[-1], [2]]


@pytest.mark.parametrize('device', DEVICES)
def test_not_contiguous_and_needing_a_gradient(device):
    boxes = traffic(30, device=device)
    expected = boxes_to_bev_mask(boxes, RANGE, GRID).instance
    view = boxes.t().contiguous().t().requires_grad_()
    assert torch.equal(boxes_to_bev_mask(view, RANGE, GRID).instance, expected)


@pytest.mark.parametrize('device', DEVICES)
def test_opcheck_and_compile(device):
    boxes, sample = traffic(25, device=device), samples_of(25, 3, device)
    footprint = boxes[:, [0, 1, 3, 4, 7, 8]]
    xs = ys = torch.linspace(-3, 3, 5, device=device)
    for batch_index in (None, sample):
        torch.library.opcheck(torch.ops.mmkd.bev_mask.default,
                              (footprint, batch_index, xs, ys, 3))

    def run(boxes, sample):
        result = boxes_to_bev_mask(boxes, RANGE, GRID, sample, 3, labels=sample)
        return result.mask, result.label, result.paint(boxes[:, 3])

    compiled = torch.compile(run, fullgraph=True, backend='aot_eager')
    for n in (25, 20):
        for a, b in zip(run(boxes[:n], sample[:n]), compiled(boxes[:n], sample[:n]),
                        strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize('device', DEVICES)
def test_repeatable_on_any_number_of_threads(device):
    boxes, batch_index = traffic(300, device=device), samples_of(300, 3, device)
    assert_repeatable(lambda: boxes_to_bev_mask(boxes, RANGE, (160, 120), batch_index, 3))
