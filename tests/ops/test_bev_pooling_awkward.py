"""BEV pooling of awkward and of wrong input."""
import pytest
import torch

from mmkd.ops.bev_index import bev_pool_index
from mmkd.ops.bev_pooling import bev_pool, bev_pool_v2

from .common import DEVICES, same_bits
from .test_bev_pooling import CELLS, LOW, SIZE, index_of, scene, v2_arguments


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('shape', [(0, 2, 3, 2, 2), (2, 0, 3, 2, 2), (1, 1, 0, 2, 2),
                                   (1, 1, 3, 0, 2), (1, 2, 3, 2, 2)])
@pytest.mark.parametrize('v2', [False, True])
def test_no_point_in_the_grid_gives_zeros_and_a_graph(device, shape, v2):
    geometry, depth, feature = scene(device, channels=4, shape=shape)
    index = index_of(geometry + 100)
    assert index.ranks_bev.shape == index.interval_starts.shape == (0,)
    inputs = depth.requires_grad_(), feature.requires_grad_()
    out = bev_pool_v2(*inputs, *v2_arguments(index, 4)) if v2 else bev_pool(*inputs, index)
    assert out.shape == (shape[0], 4, 2, 8, 16) and not out.any()
    out.sum().backward()
    assert depth.grad.shape == depth.shape and not depth.grad.any()
    assert feature.grad.shape == feature.shape and not feature.grad.any()


@pytest.mark.parametrize('device', DEVICES)
def test_the_last_sample_may_be_empty_and_channels_none(device):
    geometry, depth, feature = scene(device)
    geometry[1] = torch.nan
    out = bev_pool(depth, feature, index_of(geometry))
    assert out[0].any() and not out[1].any()
    assert bev_pool(depth, feature[..., :0], index_of(geometry)).shape == (2, 0, 2, 8, 16)


@pytest.mark.parametrize('device', DEVICES)
def test_nan_stays_in_the_cells_it_belongs_to(device):
    geometry, depth, feature = scene(device)
    index = index_of(geometry)
    feature[0, 0, 0, 0] = torch.nan
    out = bev_pool(depth, feature, index).permute(0, 2, 3, 4, 1).reshape(-1, 21)
    cells = index.cells[0, 0, :, 0, 0]
    expected = torch.zeros(len(out), dtype=torch.bool, device=device)
    expected[cells[cells >= 0].long()] = True
    assert torch.equal(out.isnan().all(1), expected) and torch.equal(out.isnan().any(1), expected)


@pytest.mark.parametrize('device', DEVICES)
def test_memory_of_any_layout_and_two_dtypes(device):
    geometry, depth, feature = scene(device)
    expected = bev_pool(depth, feature, index_of(geometry))
    scattered = [t.transpose(0, -1).contiguous().transpose(0, -1)
                 for t in (geometry, depth, feature)]
    assert not any(t.is_contiguous() for t in scattered)
    assert same_bits(bev_pool(scattered[1], scattered[2], index_of(scattered[0])), expected)
    mixed = bev_pool(depth, feature.half(), index_of(geometry))
    assert same_bits(mixed, bev_pool(depth, feature.half().float(), index_of(geometry)))


@pytest.mark.parametrize('device', DEVICES)
def test_kernels_skip_what_is_out_of_range(device):
    geometry, depth, feature = scene(device)
    index = index_of(geometry)
    pool, backward = torch.ops.mmkd.bev_pool, torch.ops.mmkd.bev_pool_backward
    expected = pool(depth, feature, index.points, index.pixels, index.starts, index.cells)
    points, pixels, cells = index.points.clone(), index.pixels.clone(), index.cells.clone()
    grad = torch.ones_like(expected)
    big = 2 ** 31 - 1
    points[0], pixels[1], points[2] = big, -5, -big
    out = pool(depth, feature, points, pixels, index.starts, index.cells)
    cell = index.ranks_bev[:3].long().unique()
    keep = torch.ones(len(out), dtype=torch.bool, device=device)
    keep[cell] = False
    assert same_bits(out[keep], expected[keep]) and not same_bits(out, expected)
    hit = cells.flatten()[index.ranks_depth[:2].long()]
    assert (hit >= 0).all()
    cells.view(-1)[index.ranks_depth[0].long()] = big
    cells.view(-1)[index.ranks_depth[1].long()] = -7
    grad_depth, _ = backward(grad, depth, feature, cells, None, None, None)
    full, _ = backward(grad, depth, feature, index.cells, None, None, None)
    assert not grad_depth[index.ranks_depth[:2].long()].any()
    assert (grad_depth != full).sum() == 2


def refuses(match, function, *args, **kwargs):
    with pytest.raises(ValueError, match=match):
        function(*args, **kwargs)


def test_refuses_a_wrong_geometry_or_grid():
    geometry = scene()[0]
    refuses('geometry must have shape', bev_pool_index, geometry[0], LOW, SIZE, CELLS)
    refuses('geometry must be float', bev_pool_index, geometry.long(), LOW, SIZE, CELLS)
    refuses('low must be 3', bev_pool_index, geometry, LOW[:2], SIZE, CELLS)
    refuses('low must be 3', bev_pool_index, geometry, (0, 0, torch.nan), SIZE, CELLS)
    refuses('voxel_size must be positive', bev_pool_index, geometry, LOW, (1, 0, 1), CELLS)
    refuses('voxel_size must be positive', bev_pool_index, geometry, LOW, (1, 1e-60, 1), CELLS)
    refuses('cells must be three', bev_pool_index, geometry, LOW, SIZE, (4, 4))
    refuses('cells must be at least 1', bev_pool_index, geometry, LOW, SIZE, (4, 0, 1))
    refuses('cells must be an integer', bev_pool_index, geometry, LOW, SIZE, (4, 4., 1))
    refuses('int64 can number', bev_pool_index, geometry, LOW, SIZE, (2 ** 31 - 1,) * 3)
    refuses('rounding must be one of', bev_pool_index, geometry, LOW, SIZE, CELLS, 'round')


def test_refuses_what_does_not_go_with_the_index():
    geometry, depth, feature = scene()
    index = index_of(geometry)
    refuses('index must be a BEVPoolIndex', bev_pool, depth, feature, tuple(index))
    refuses('depth must have shape', bev_pool, depth[:1], feature, index)
    refuses('feature must have shape', bev_pool, depth, feature[:, :1], index)
    refuses('depth must be float', bev_pool, depth.long(), feature, index)
    refuses('different devices', bev_pool, depth.to('meta'), feature, index)


def test_v2_refuses_ranks_that_do_not_go_together():
    geometry, depth, feature = scene()
    names = ('ranks_depth', 'ranks_feat', 'ranks_bev', 'bev_feat_shape', 'interval_starts',
             'interval_lengths')
    right = dict(zip(names, v2_arguments(index_of(geometry), 21), strict=True))

    def call(**changed):
        return bev_pool_v2(depth, feature, **{**right, **changed})

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
    refuses('bev_feat_shape must be', call, bev_feat_shape=(2, 8, 16, 21))
    refuses('B and C must be the same', call, bev_feat_shape=(2, 2, 8, 16, 20))
    refuses('bev_feat_shape must be an integer', call, bev_feat_shape=(2, 2, 8, 16., 21))
    refuses('different devices', call, ranks_bev=right['ranks_bev'].to('meta'))
