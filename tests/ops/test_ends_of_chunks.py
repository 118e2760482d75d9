"""Sizes around powers of two, where a vector, a tile, a chunk or a thread's share ends.

The values are small integers, of which sums are exact in any order: what is expected holds bit for
bit however an operator splits its work. Many are equal, so that the order of ties shows too.
"""
import pytest
import torch

from mmkd.ops import bev_pool, csr_index, scatter_points, unique_index
from mmkd.ops.bev_index import bev_pool_index
from mmkd.ops.bev_pooling import bev_pool_backward_reference, bev_pool_reference
from mmkd.ops.hard_voxels import hard_voxelize_reference
from mmkd.ops.interpolation import (
    interpolate_features_reference,
    interpolate_reference,
    interpolate_weights_reference,
)
from mmkd.ops.neighbours import ball_query_reference, knn_reference
from mmkd.ops.point_sampling import furthest_points_reference, furthest_rows_reference
from mmkd.ops.segments import csr_index_reference, unique_index_reference

from .common import DEVICES, FLOATS, on, same_bits, threads

EXACT = [torch.float32, torch.float64]
every_device = pytest.mark.parametrize('device', DEVICES)
every_exact = pytest.mark.parametrize('dtype', EXACT)


def around(*powers):
    """One less, as many and one more."""
    return [power + off for power in powers for off in (-1, 0, 1)]


def integers(*shape, low=-3, high=4, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, shape, generator=generator).to(dtype)


def assert_same(got, expected):
    for a, b in zip(got, expected, strict=True):
        assert same_bits(a, b)


def from_zero(t):
    """-0 as 0: a sum that starts with its first term may be either."""
    return t + 0


@every_device
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('reduce', ['sum', 'mean', 'max'])
def test_long_segments(device, dtype, reduce):
    sizes = torch.tensor([0, 1, 2, 0, *around(4, 16, 32, 64, 128, 256, 512, 1024, 4096), 0])
    ids = torch.arange(len(sizes)).repeat_interleave(sizes)
    shuffle = torch.randperm(len(ids), generator=torch.Generator().manual_seed(1))
    ids, rows = ids[shuffle], integers(len(ids), 5)
    grad = integers(len(sizes), 5, seed=2)

    def run(rows, ids, grad):
        rows = rows.requires_grad_()
        out = scatter_points(rows, ids, reduce, len(sizes))
        return out.detach(), torch.autograd.grad(out, rows, grad)[0]

    out, back = on(device, run, rows.to(dtype), ids, grad.to(dtype))
    wide = rows.double().requires_grad_()
    sums = torch.zeros(len(sizes), 5, dtype=torch.float64).index_add(0, ids, wide)
    expected = {'sum': sums, 'mean': sums / sizes.clamp(min=1)[:, None]}.get(reduce)
    if reduce == 'max':
        holder = torch.zeros_like(sums, dtype=torch.long)
        for s in range(len(sizes)):
            members = (ids == s).nonzero()[:, 0]
            if len(members):
                holder[s] = members[(rows[members] == rows[members].amax(0)).int().argmax(0)]
        expected = torch.where(sizes[:, None] > 0, wide.gather(0, holder), 0)
    expected_back = torch.autograd.grad(expected, wide, grad.double())[0]
    assert torch.equal(out, expected.detach().float().to(dtype) if dtype != torch.float64
                       else expected.detach())
    assert torch.equal(back, expected_back.float().to(dtype) if dtype != torch.float64
                       else expected_back)


@every_device
@every_exact
@pytest.mark.parametrize('channels', [1, *around(8, 16, 32, 64, 128)])
def test_channels_of_weighted_rows(device, dtype, channels):
    features, weights = integers(9, channels, dtype=dtype), integers(40, 5, dtype=dtype, seed=1)
    indices = integers(40, 5, low=-1, high=9, dtype=torch.long, seed=2)
    grad = integers(40, channels, dtype=dtype, seed=3)
    index = csr_index_reference(indices.flatten(), 9)
    ops = torch.ops.mmkd
    for op, reference, args in (
            (ops.interpolate, interpolate_reference, (features, indices, weights)),
            (ops.interpolate_features, interpolate_features_reference, (grad, weights, *index)),
            (ops.interpolate_weights, interpolate_weights_reference, (grad, features, indices))):
        assert_same([from_zero(on(device, op, *args))], [from_zero(reference(*args))])
    geometry = torch.rand(1, 2, 3, 4, 5, 3, generator=torch.Generator().manual_seed(4)) * 4
    index = bev_pool_index(geometry, (1, 1, 1), (0, 0, 0, 3, 3, 4))
    depth = integers(1, 2, 3, 4, 5, dtype=dtype)
    features = integers(1, 2, 4, 5, channels, dtype=dtype, seed=5)
    args = depth, features, index.points, index.pixels, index.starts, index.cells
    pooled = bev_pool_reference(*args)
    assert_same([from_zero(on(device, ops.bev_pool, *args))], [from_zero(pooled)])
    args = integers(*pooled.shape, dtype=dtype, seed=6), depth, features, index.cells, \
        None, None, None
    assert_same(map(from_zero, on(device, ops.bev_pool_backward, *args)),
                map(from_zero, bev_pool_backward_reference(*args)))


@every_device
@pytest.mark.parametrize('uses', around(64, 1024, 4096))
def test_a_row_that_is_used_often(device, uses):
    """By one query of as many neighbours, and by as many queries."""
    features = integers(3, 7)
    for n, k in ((1, uses), (uses, 1)):
        indices = torch.full((n, k), 1)
        weights, grad = integers(n, k, seed=1), integers(n, 7, seed=2)
        index = csr_index_reference(indices.flatten(), 3)
        assert_same([from_zero(on(device, torch.ops.mmkd.interpolate, features, indices, weights))],
                    [from_zero(interpolate_reference(features, indices, weights))])
        args = grad, weights, *index
        assert_same([from_zero(on(device, torch.ops.mmkd.interpolate_features, *args))],
                    [from_zero(interpolate_features_reference(*args))])


@every_device
@pytest.mark.parametrize('points', around(64, 1024, 4096))
def test_a_cell_of_many_points_and_a_ray_of_many_bins(device, points):
    for shape in ((1, 1, points, 1, 1), (1, 1, 1, 1, points)):
        geometry = torch.zeros(*shape, 3) + .5
        geometry[..., -1, 0] += 1  # the last bin or column has a cell of its own
        depth, features = integers(*shape), integers(*shape[:2], *shape[3:], 3, seed=1)

        def run(geometry, depth, features):
            index = bev_pool_index(geometry, (1, 1, 1), (0, 0, 0, 2, 1, 1))
            inputs = depth.requires_grad_(), features.requires_grad_()
            out = bev_pool(*inputs, index)
            return out.detach(), *torch.autograd.grad((out * out).sum(), inputs)

        got = on(device, run, geometry, depth.clone(), features.clone())
        inputs = depth.requires_grad_(), features.requires_grad_()
        products = (depth[..., None] * features[:, :, None]).view(-1, 3)
        last = (geometry[..., 0] > 1).flatten()[:, None]
        expected = torch.stack([(products * ~last).sum(0), (products * last).sum(0)], 1)
        assert torch.equal(got[0].view(3, 2), expected)
        for a, b in zip(got[1:], torch.autograd.grad((expected * expected).sum(), inputs),
                        strict=True):
            assert torch.equal(a, b)


@every_device
@pytest.mark.parametrize('n', around(2, 256, 4096, 16384, 32768))
def test_sorted_indices(device, n):
    for high in (1, 3, n, 2 ** 40):
        keys = integers(n, low=-1, high=high, dtype=torch.long)
        every = keys.clamp(0, 99)  # all have an id
        expected = unique_index_reference(keys), csr_index_reference(keys, min(high, n) - 1), \
            csr_index_reference(every, 100)
        for count in (1, 4):
            with threads(count):
                assert_same(on(device, unique_index, keys), expected[0])
                assert_same(on(device, csr_index, keys, min(high, n) - 1), expected[1])
                assert_same(on(device, csr_index, every, 100), expected[2])


@every_device
@pytest.mark.parametrize('n', around(256, 16384))
def test_hard_voxels(device, n):
    points = integers(n, 4, low=-1, high=9) + .5
    for max_points, max_voxels in ((n // 256, -1), (8, 128)):
        args = points, [1.] * 3, [0.] * 3, [8, 8, 8], max_points, max_voxels
        with threads(4):
            assert_same(on(device, torch.ops.mmkd.hard_voxelize, *args),
                        hard_voxelize_reference(*args))


@every_device
@every_exact
@pytest.mark.parametrize('n', [*around(16, 512, 1024), 1700])
def test_furthest_points_of_many_ties(device, dtype, n):
    points = integers(2, n, 3, dtype=dtype)
    assert_same([on(device, torch.ops.mmkd.furthest_points, points, 90)],
                [furthest_points_reference(points, 90)])
    rows = integers(2, n, n, low=0, dtype=dtype)
    assert_same([on(device, torch.ops.mmkd.furthest_rows, rows, 20)],
                [furthest_rows_reference(rows, 20)])


@every_device
@every_exact
@pytest.mark.parametrize('n', around(8, 1024))
def test_neighbours_of_many_ties(device, dtype, n):
    for channels, queries in ((3, 65), (5, 64), (9, 3)):
        points, query = integers(2, n, channels, dtype=dtype), integers(
            2, queries, channels, dtype=dtype, seed=1)
        for k in (1, 3, 4, 5, 33, 130):
            args = query, points, k, None, None
            assert_same(on(device, torch.ops.mmkd.knn, *args), knn_reference(*args))
    points, centers = integers(2, n, 3, dtype=dtype), integers(2, 65, 3, dtype=dtype, seed=1)
    for low, high, samples in ((0., 2., 1), (0., 3., 32), (1., 6., 33), (0., 99., n + 1)):
        args = centers, points, low, high, samples
        assert_same([on(device, torch.ops.mmkd.ball_query, *args)], [ball_query_reference(*args)])
