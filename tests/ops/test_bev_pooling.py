"""BEV pooling: against the volume formulation, its reference, BEVDet's rule and recordings."""

import numpy as np
import pytest
import torch

from mmkd.ops import bev_pooling
from mmkd.ops.bev_index import BEVPoolIndex, bev_pool_index, bev_pool_index_reference
from mmkd.ops.bev_pooling import bev_pool, bev_pool_reference, bev_pool_v2

from .common import DEVICES, FLOATS, move, on, recorded, same_bits

LOW, SIZE, CELLS = (-4., -3., -2.), (.5, .75, 2.), (16, 8, 2)
RANGE = (*LOW, 4., 3., 2.)


def scene(device='cpu', dtype=torch.float32, channels=21, shape=(2, 3, 5, 4, 6)):
    geometry = torch.rand(*shape, 3) * torch.tensor([10., 8., 6.]) - torch.tensor([5., 4., 3.])
    b, n, _, h, w = shape
    return (geometry.to(device), torch.rand(shape).to(device, dtype),
            torch.randn(b, n, h, w, channels).to(device, dtype))


def index_of(geometry, **kwargs):
    return bev_pool_index(geometry, SIZE, RANGE, **kwargs)


def pool_volume(depth, features, cells, bev_shape):
    """The usual formulation, differentiable."""
    volume = (depth[..., None] * features[:, :, None]).flatten(0, 4)
    keep = cells.flatten() >= 0
    out = volume.new_zeros(int(np.prod(bev_shape)), features.shape[-1])
    out = out.index_add(0, cells.flatten()[keep].long(), volume[keep])
    return out.view(*bev_shape, -1).permute(0, 4, 1, 2, 3)


def assert_value_and_gradient(device, op, arguments, plain):
    """``op`` on ``device`` is ``plain`` on the CPU, and so are the gradients of the first two
    arguments; float64, of which some thirty terms of size 1 are added in any order."""
    results = []
    for where, function in ((device, op), ('cpu', plain)):
        moved = move(arguments, where)
        inputs = [t.detach().requires_grad_() for t in moved[:2]]
        out = function(*inputs, *moved[2:])
        weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
        results.append(move([out.detach(), *torch.autograd.grad(out, inputs, weight.to(where))],
                            'cpu'))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def v2_arguments(index, channels):
    return (index.ranks_depth, index.ranks_feat, index.ranks_bev,
            (*index.bev_shape, channels), index.interval_starts, index.interval_lengths)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('rounding', ['trunc', 'floor'])
def test_the_index_is_the_references(device, dtype, rounding):
    geometry = scene(dtype=dtype)[0].to(dtype)
    index = move(index_of(geometry.to(device), rounding=rounding), 'cpu')
    expected = bev_pool_index_reference(geometry, list(SIZE), list(LOW), list(CELLS),
                                        rounding == 'trunc', False)
    assert all(same_bits(a, b) for a, b in zip(index[:4], expected, strict=True))
    assert index.cells.dtype == torch.int32 and 0 < index.starts[-1] < index.cells.numel()
    wide = on(device, torch.ops.mmkd.bev_pool_index, geometry, SIZE, LOW, CELLS,
              rounding == 'trunc', True)
    assert all(t.dtype == torch.int64 and torch.equal(t, s)
               for t, s in zip(wide, index[:4], strict=True))


@pytest.mark.parametrize('device', DEVICES)
def test_a_point_below_the_grid_is_truncated_into_it_or_dropped(device):
    inf, nan = torch.inf, torch.nan
    points = torch.tensor([[-4.1, -3, -2], [-4.5, -3, -2], [-4, -3, -2], [3.99, 2.99, 1.99],
                           [4, 0, 0], [nan, 0, 0], [0, inf, 0], [0, 0, -inf], [1e30, 0, 0],
                           [-4.49, -3.7, -3.9]], device=device)
    geometry = points.view(1, 1, 1, 2, 5, 3)
    assert index_of(geometry).cells.flatten().tolist() == [0, -1, 0, 255, *[-1] * 5, 0]
    floor = index_of(geometry, rounding='floor')
    assert floor.cells.flatten().tolist() == [-1, -1, 0, 255, *[-1] * 6]
    assert floor.ranks_depth.tolist() == [2, 3]
    assert floor.interval_lengths.tolist() == [1, 1]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('channels', [1, 5, 16, 37, 80])
def test_pooling_is_the_references(device, dtype, channels):
    geometry, depth, features = scene('cpu', dtype, channels)
    index = index_of(geometry)
    out = on(device, bev_pool, depth, features, index)
    assert out.shape == (2, channels, 2, 8, 16) and out.dtype == dtype
    assert out.permute(0, 2, 3, 4, 1).is_contiguous()
    rows = out.permute(0, 2, 3, 4, 1).reshape(-1, channels)
    expected = bev_pool_reference(depth, features, index.points, index.pixels, index.starts,
                                  index.cells)
    assert same_bits(rows, expected)
    grad = torch.randn(rows.shape).to(rows)
    ours = on(device, torch.ops.mmkd.bev_pool_backward, grad, depth, features, index.cells, None,
              None, None)
    theirs = bev_pooling.bev_pool_backward_reference(grad, depth, features, index.cells, None,
                                                     None, None)
    assert same_bits(ours[1], theirs[1])
    tight = dict(rtol=1e-12, atol=1e-13) if dtype == torch.float64 else {}
    torch.testing.assert_close(ours[0], theirs[0], **tight)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('v2', [False, True])
def test_value_and_gradient_are_those_of_the_volume(device, v2):
    geometry, depth, features = scene('cpu', torch.float64)
    index = index_of(geometry)
    arguments = v2_arguments(index, 21) if v2 else (index,)
    assert_value_and_gradient(
        device, bev_pool_v2 if v2 else bev_pool, (depth, features, *arguments),
        lambda d, f, *_: pool_volume(d, f, index.cells, index.bev_shape))


@pytest.mark.parametrize('device', DEVICES)
def test_bevdets_index_value_and_gradient(device):
    case = recorded('lss_viewtransform_ordinary', device)
    index = bev_pool_index(case['geometry'], (.8, .8, 20.), (-6.4, -6.4, -10., 6.4, 6.4, 10.))
    for name in ('ranks_bev', 'interval_starts', 'interval_lengths'):
        assert torch.equal(getattr(index, name), case[name]), name
    for ranks in ('ranks_depth', 'ranks_feat'):
        pairs = [sorted(zip(case['ranks_bev'].tolist(), r.tolist(), strict=True))
                 for r in (getattr(index, ranks), case[ranks])]
        assert pairs[0] == pairs[1], ranks
    logits = case['depth_logits'].double().requires_grad_()
    image = case['img_feat'].double().requires_grad_()
    depth = logits.softmax(1).view(2, 2, 8, 4, 6)
    features = image.permute(0, 2, 3, 1).view(2, 2, 4, 6, 5)
    out = bev_pool(depth, features, index).squeeze(2)
    # the recorded v1 result takes differences of a running sum over 560 points
    torch.testing.assert_close(out.float(), case['bev_v2_reference'], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out.float(), case['bev'], rtol=1e-5, atol=1e-5)
    (out * case['out_weight']).sum().backward()
    for mine, name in ((logits, 'grad_depth_logits'), (image, 'grad_img_feat')):
        torch.testing.assert_close(mine.grad.float(), case[name], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('ranks', [torch.int32, torch.int64])
def test_the_values_that_bevdets_own_test_asserts(device, ranks):
    case = recorded('bev_pool_v2_unittest', device)
    depth, features = case['depth'].requires_grad_(), case['feat'].requires_grad_()
    starts = torch.tensor([0, 2], device=device, dtype=ranks)
    out = bev_pool_v2(depth, features, *(case[f'ranks_{n}'].to(ranks)
                                     for n in ('depth', 'feat', 'bev')),
                      tuple(case['bev_feat_shape'].tolist()), starts, torch.full_like(starts, 2))
    out.sum().backward()
    torch.testing.assert_close(out.sum(), case['loss_sum'])
    torch.testing.assert_close(depth.grad, case['grad_depth'])
    torch.testing.assert_close(features.grad, case['grad_feat'])


@pytest.mark.parametrize('device', DEVICES)
def test_ranks_may_repeat_and_need_not_go_together(device):
    _, depth, features = scene('cpu', torch.float64, 3)
    count = 900
    at = torch.randint(0, depth.numel(), (count,))
    pixel = torch.randint(0, features.numel() // 3, (count,))
    cell = torch.randint(0, 40, (count,)).sort().values
    _, lengths = cell.unique_consecutive(return_counts=True)

    def plain(depth, features, *_):
        products = depth.flatten()[at][:, None] * features.reshape(-1, 3)[pixel]
        sums = products.new_zeros(40, 3).index_add(0, cell, products)
        return sums.view(2, 1, 4, 5, 3).permute(0, 4, 1, 2, 3)

    assert_value_and_gradient(device, bev_pool_v2, (
        depth, features, at, pixel, cell, (2, 1, 4, 5, 3), lengths.cumsum(0) - lengths, lengths),
        plain)


def test_an_index_names_its_parts():
    index = index_of(scene()[0])
    assert isinstance(index, BEVPoolIndex) and index.bev_shape == (2, 2, 8, 16)
    at = index.ranks_depth.long()
    plane, bins = 4 * 6, 5
    assert torch.equal(index.ranks_feat, at // (plane * bins) * plane + at % plane)
    assert torch.equal(index.ranks_bev, index.ranks_bev.sort().values)
    assert int(index.interval_lengths.sum()) == len(at)
