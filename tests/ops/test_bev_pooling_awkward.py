"""BEV pooling of awkward and of wrong input."""
import pytest
import torch

from mmkd.ops.bev_index import bev_pool_index
from mmkd.ops.bev_pooling import bev_pool, bev_pool_v2

from .common import DEVICES, same_bits
from .test_bev_pooling import RANGE, SIZE, index_of, scene, v2_arguments


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('shape', [(0, 2, 3, 2, 2), (2, 0, 3, 2, 2), (1, 1, 0, 2, 2),
                                   (1, 1, 3, 0, 2), (1, 2, 3, 2, 2)])
@pytest.mark.parametrize('v2', [False, True])
def test_no_point_in_the_grid_gives_zeros_and_a_graph(device, shape, v2):
    geometry, depth, features = scene(device, channels=4, shape=shape)
    index = index_of(geometry + 100)
    assert index.ranks_bev.shape == index.interval_starts.shape == (0,)
    inputs = depth.requires_grad_(), features.requires_grad_()
    out = bev_pool_v2(*inputs, *v2_arguments(index, 4)) if v2 else bev_pool(*inputs, index)
    assert out.shape == (shape[0], 4, 2, 8, 16) and not out.any()
    out.sum().backward()
    assert depth.grad.shape == depth.shape and not depth.grad.any()
    assert features.grad.shape == features.shape and not features.grad.any()


@pytest.mark.parametrize('device', DEVICES)
def test_the_last_sample_may_be_empty_and_channels_none(device):
    geometry, depth, features = scene(device)
    geometry[1] = torch.nan
    out = bev_pool(depth, features, index_of(geometry))
    assert out[0].any() and not out[1].any()
    assert bev_pool(depth, features[..., :0], index_of(geometry)).shape == (2, 0, 2, 8, 16)


@pytest.mark.parametrize('device', DEVICES)
def test_nan_stays_in_the_cells_it_belongs_to(device):
    geometry, depth, features = scene(device)
    index = index_of(geometry)
    features[0, 0, 0, 0] = torch.nan
    out = bev_pool(depth, features, index).permute(0, 2, 3, 4, 1).reshape(-1, 21)
    cells = index.cells[0, 0, :, 0, 0]
    expected = torch.zeros(len(out), dtype=torch.bool, device=device)
    expected[cells[cells >= 0].long()] = True
    assert torch.equal(out.isnan().all(1), expected) and torch.equal(out.isnan().any(1), expected)


@pytest.mark.parametrize('device', DEVICES)
def test_memory_of_any_layout_and_two_dtypes(device):
    geometry, depth, features = scene(device)
    expected = bev_pool(depth, features, index_of(geometry))
    scattered = [t.transpose(0, -1).contiguous().transpose(0, -1)
                 for t in (geometry, depth, features)]
    assert not any(t.is_contiguous() for t in scattered)
    assert same_bits(bev_pool(scattered[1], scattered[2], index_of(scattered[0])), expected)
    mixed = bev_pool(depth, features.half(), index_of(geometry))
    assert same_bits(mixed, bev_pool(depth, features.half().float(), index_of(geometry)))


@pytest.mark.parametrize('device', DEVICES)
def test_kernels_skip_what_is_out_of_range(device):
    geometry, depth, features = scene(device)
    index = index_of(geometry)
    pool, backward = torch.ops.mmkd.bev_pool, torch.ops.mmkd.bev_pool_backward
    expected = pool(depth, features, index.points, index.pixels, index.starts, index.cells)
    points, pixels, cells = index.points.clone(), index.pixels.clone(), index.cells.clone()
    grad = torch.ones_like(expected)
    big = 2 ** 31 - 1
    points[0], pixels[1], points[2] = big, -5, -big
    out = pool(depth, features, points, pixels, index.starts, index.cells)
    cell = index.ranks_bev[:3].long().unique()
    keep = torch.ones(len(out), dtype=torch.bool, device=device)
    keep[cell] = False
    assert same_bits(out[keep], expected[keep]) and not same_bits(out, expected)
    hit = cells.flatten()[index.ranks_depth[:2].long()]
    assert (hit >= 0).all()
    cells.view(-1)[index.ranks_depth[0].long()] = big
    cells.view(-1)[index.ranks_depth[1].long()] = -7
    grad_depth, _ = backward(grad, depth, features, cells, None, None, None)
    full, _ = backward(grad, depth, features, index.cells, None, None, None)
    assert not grad_depth[index.ranks_depth[:2].long()].any()
    assert (grad_depth != full).sum() == 2


def refuses(match, function, *args, **kwargs):
    with pytest.raises(ValueError, match=match):
        function(*args, **kwargs)


def test_refuses_a_wrong_geometry_or_grid():
    geometry = scene()[0]
    refuses('geometry must have shape', bev_pool_index, geometry[0], SIZE, RANGE)
    refuses('geometry must be float', bev_pool_index, geometry.long(), SIZE, RANGE)
    refuses('point_cloud_range must be 6', bev_pool_index, geometry, SIZE, RANGE[:4])
    refuses('point_cloud_range must be 6', bev_pool_index, geometry, SIZE,
            (*RANGE[:5], torch.nan))
    refuses('each minimum below', bev_pool_index, geometry, SIZE, (*RANGE[:5], -2))
    refuses('voxel_size must be positive', bev_pool_index, geometry, (1, 0, 1), RANGE)
    refuses('beyond float32', bev_pool_index, geometry, (1, 1e-60, 1), RANGE)
    refuses('at least 1', bev_pool_index, geometry, (1, 99, 1), RANGE)
    refuses('int64 can number', bev_pool_index, geometry, (1e-8,) * 3, RANGE)
    refuses('rounding must be one of', bev_pool_index, geometry, SIZE, RANGE, 'round')


def test_refuses_what_does_not_go_with_the_index():
    geometry, depth, features = scene()
    index = index_of(geometry)
    refuses('index must be a BEVPoolIndex', bev_pool, depth, features, tuple(index))
    refuses('depth must have shape', bev_pool, depth[:1], features, index)
    refuses('features must have shape', bev_pool, depth, features[:, :1], index)
    refuses('depth must be float', bev_pool, depth.long(), features, index)
    refuses('different devices', bev_pool, depth.to('meta'), features, index)


def test_v2_refuses_ranks_that_do_not_go_together():
    geometry, depth, features = scene()
    names = ('ranks_depth', 'ranks_feat', 'ranks_bev', 'bev_feat_shape', 'interval_starts',
             'interval_lengths')
    right = dict(zip(names, v2_arguments(index_of(geometry), 21), strict=True))

    def call(**changed):
        return bev_pool_v2(depth, features, **{**right, **changed})

    assert call().any()

    def put(name, at, value):
        changed = right[name].clone()
        changed[at] = value
        return {name: changed}

    refuses('ranks_depth must lie', call, **put('ranks_depth', 3, depth.numel()))
    refuses('ranks_feat must lie', call, **put('ranks_feat', 3, -1))
    refuses('ranks_bev must be sorted', call, **put('ranks_bev', -1, 0))
    refuses('ranks_bev must lie', call, bev_feat_shape=(2, 1, 2, 2, 21))
    refuses('ranks_feat must have shape', call, ranks_feat=right['ranks_feat'][1:])
    refuses('ranks_bev must be int32, int64', call, ranks_bev=right['ranks_bev'].float())
    refuses('must be those of ranks_bev', call, **put('interval_starts', 1, 0))
    refuses('must be those of ranks_bev', call, **put('interval_lengths', -1, 1000))
    refuses('must be those of ranks_bev', call,
            interval_starts=right['interval_starts'][:-1],
            interval_lengths=right['interval_lengths'][:-1])
    for at in (0, 1):  # each that is left is whole, and the last one ends with the ranks
        refuses('must be those of ranks_bev', call, **{
            name: torch.cat([right[name][:at], right[name][at + 1:]])
            for name in ('interval_starts', 'interval_lengths')})
    nothing = {name: right[name][:0] for name in ('interval_starts', 'interval_lengths')}
    refuses('must be those of ranks_bev', call, **nothing)
    for name in ('interval_starts', 'interval_lengths'):
        for at, value in ((0, -2 ** 31), (1, 2 ** 31 - 1), (-1, 0)):
            refuses('must be those of ranks_bev', call, **put(name, at, value))
    # Two cells in one interval, one cell in two.
    joined = torch.cat([right['interval_lengths'][:1] + right['interval_lengths'][1:2],
                        right['interval_lengths'][2:]])
    refuses('must be those of ranks_bev', call, interval_lengths=joined,
            interval_starts=joined.cumsum(0).int() - joined)
    lengths = right['interval_lengths'].tolist()
    at = next(k for k, length in enumerate(lengths) if length > 1)
    split = torch.tensor([*lengths[:at], 1, lengths[at] - 1, *lengths[at + 1:]]).int()
    refuses('must be those of ranks_bev', call, interval_lengths=split,
            interval_starts=split.cumsum(0).int() - split)
    refuses('bev_feat_shape must be', call, bev_feat_shape=(2, 8, 16, 21))
    refuses('B and C must be the same', call, bev_feat_shape=(2, 2, 8, 16, 20))
    refuses('bev_feat_shape X must be an integer', call, bev_feat_shape=(2, 2, 8, 16., 21))
    refuses('bev_feat_shape Y must be at least 0', call, bev_feat_shape=(2, 2, -8, 16, 21))
    refuses(r'bev_feat_shape must be 5 integers .*, not None', call, bev_feat_shape=None)
    refuses('more cells than int64', call, bev_feat_shape=(2, 2 ** 31, 2 ** 31, 2, 21))
    refuses('different devices', call, ranks_bev=right['ranks_bev'].to('meta'))
