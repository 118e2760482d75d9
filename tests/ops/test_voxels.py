"""voxel_index: against its reference, mmcv's dynamic voxelisation and plain Python."""
import math

import pytest
import torch

from mmkd.ops import dynamic_voxelize, voxel_index
from mmkd.ops.grid import float32, make_grid
from mmkd.ops.voxels import voxel_coors, voxel_coors_reference, voxel_keys, voxel_keys_reference

from .common import DEVICES, FLOATS, assert_repeatable, on

SIZE, RANGE = (0.5, 0.4, 1.), (-10., -8., -2., 10., 8., 2.)


def cloud(n, dtype=torch.float32, device='cpu', channels=4):
    return ((torch.rand(n, channels) - 0.5) * torch.tensor([24., 20., 5., 1.])).to(dtype).to(device)


def plain_index(points, batch, size, bounds):
    """{(b, z, y, x): [points]} by Python arithmetic in float64; points well inside cells."""
    voxels = {}
    for i, (p, b) in enumerate(zip(points.tolist(), batch.tolist(), strict=True)):
        cell = [math.floor((p[k] - bounds[k]) / size[k]) for k in range(3)]
        count = [round((bounds[k + 3] - bounds[k]) / size[k]) for k in range(3)]
        if all(0 <= c < n for c, n in zip(cell, count, strict=True)):
            voxels.setdefault((b, *cell[::-1]), []).append(i)
    return voxels


@pytest.mark.parametrize('device', DEVICES)
def test_index_is_what_a_dictionary_of_voxels_says(device):
    points = cloud(400, torch.float64, device)
    batch = torch.randint(3, (400,), device=device)
    index = voxel_index(points, SIZE, RANGE, batch, batch_size=4)
    voxels = plain_index(points, batch, SIZE, RANGE)
    assert [tuple(c) for c in index.coors.tolist()] == sorted(voxels)
    inside = {i for members in voxels.values() for i in members}
    assert 0 < len(inside) < 400
    for m, where in enumerate(sorted(voxels)):
        members = index.order[index.starts[m]:index.starts[m + 1]].tolist()
        assert members == voxels[where]
        assert index.counts[m] == len(members)
        assert index.inverse[members].tolist() == [m] * len(members)
        assert index.point_coors[members].tolist() == [list(where)] * len(members)
    outside = sorted(set(range(400)) - inside)
    assert index.order[index.starts[-1]:].tolist() == outside
    assert index.inverse[outside].unique().tolist() == [-1]
    assert index.point_coors[outside].unique().tolist() == [-1]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
def test_keys_equal_the_reference(dtype, device):
    points = cloud(3000, dtype)
    batch = torch.randint(2, (3000,))
    grid = make_grid('test', SIZE, RANGE)
    args = (points, batch, 2, list(grid.voxel_size), list(grid.low), list(grid.cells))
    keys = on(device, voxel_keys, *args)
    assert torch.equal(keys, voxel_keys_reference(*args))
    for with_sample in (True, False):
        assert torch.equal(on(device, voxel_coors, keys, list(grid.cells), with_sample),
                           voxel_coors_reference(keys, list(grid.cells), with_sample))


@pytest.mark.parametrize('size, bounds', [
    (SIZE, RANGE),
    ((0.075, 0.075, 0.2), (-54., -54., -5., 54., 54., 3.)),
    ((0.16, 0.16, 4.), (0., -39.68, -3., 69.12, 39.68, 1.)),
    ((0.3, 0.7, 0.9), (-10., -8., -2., 10., 8., 2.)),  # no multiple: up, down, down
])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16])
def test_coordinates_equal_mmcv(size, bounds, dtype):
    """On the borders of cells too, where one rounding more or less shows."""
    voxelization = pytest.importorskip('mmcv.ops', reason='mmcv is not installed').Voxelization
    points = (torch.rand(20000, 4) - 0.5) * 1.1 * (torch.tensor(bounds[3:] + (1.,))
                                                   - torch.tensor(bounds[:3] + (0.,)))
    points[:, :3] += (torch.tensor(bounds[3:]) + torch.tensor(bounds[:3])) / 2
    on_border = torch.tensor(bounds[:3]) + torch.tensor(size) * torch.randint(-2, 99, (9999, 3))
    points[:9999, :3] = on_border
    points = points.to(dtype)
    theirs = voxelization(list(size), list(bounds), -1)(points)
    assert torch.equal(dynamic_voxelize(points, size, bounds), theirs)
    assert torch.equal(voxel_index(points, size, bounds).point_coors[:, 1:], theirs)


def test_a_list_of_clouds_is_a_batch():
    clouds = [cloud(50), cloud(0), cloud(70), cloud(0)]
    index = voxel_index(clouds, SIZE, RANGE)
    assert index.batch_size == 4
    batch = torch.tensor([0] * 50 + [2] * 70)
    same = voxel_index(torch.cat(clouds), SIZE, RANGE, batch, batch_size=4)
    assert torch.equal(index.keys, same.keys) and torch.equal(index.order, same.order)
    assert index.coors[:, 0].unique().tolist() == [0, 2]


@pytest.mark.parametrize('device', DEVICES)
def test_empty_and_outside(device):
    for points in (cloud(0, device=device), torch.full((5, 3), 99., device=device),
                   torch.full((5, 3), math.nan, device=device)):
        index = voxel_index(points, SIZE, RANGE)
        assert index.coors.shape == (0, 4) and index.starts.tolist() == [0]
        assert index.inverse.tolist() == [-1] * len(points)
        assert sorted(index.order.tolist()) == list(range(len(points)))


def test_coordinates_that_no_integer_holds_are_outside():
    far = [math.inf, -math.inf, math.nan, 1e38, -1e38, 3e9, -3e9, 2.0 ** 62]
    points = torch.tensor([[v if k == axis else 0. for k in range(3)]
                           for v in far for axis in range(3)])
    index = voxel_index(torch.cat([points, torch.zeros(1, 3)]), SIZE, RANGE)
    assert index.inverse.tolist() == [-1] * len(points) + [0]


def test_keys_past_int32():
    """A grid of 4e9 cells, and points in the last of them."""
    points = torch.tensor([[99999.5, 99999.5, 0.5], [0.5, 0.5, 0.5]], dtype=torch.float64)
    index = voxel_index(points, (1., 1., 1.), (0., 0., 0., 1e5, 1e5, 1.),
                        torch.tensor([1, 0]), batch_size=2)
    assert index.keys.tolist() == [2 * 10 ** 10 - 1, 0]
    assert index.coors.tolist() == [[0, 0, 0, 0], [1, 0, 99999, 99999]]


def test_keys_and_positions_too_wide_to_pack_are_sorted_all_the_same():
    """62-bit keys and 3000 points do not fit one 64-bit word together."""
    size, bounds = (1., 1., 1.), (0., 0., 0., 2e9, 2e9, 1.)
    points = torch.rand(3000, 3, dtype=torch.float64) * torch.tensor([2e9, 2e9, 1.])
    points[1500:] = points[:1500]
    index = voxel_index(points, size, bounds)
    assert int(index.keys.max()).bit_length() > 60
    unique, inverse = index.keys.unique(return_inverse=True)
    assert torch.equal(index.unique, unique) and torch.equal(index.inverse, inverse)
    assert torch.equal(index.order, index.keys.argsort(stable=True))


def test_not_contiguous_points():
    points = cloud(300)
    wide = torch.zeros(300, 8)
    wide[:, ::2] = points
    strided = wide[:, ::2]
    assert not strided.is_contiguous()
    assert torch.equal(voxel_index(strided, SIZE, RANGE).keys,
                       voxel_index(points, SIZE, RANGE).keys)


@pytest.mark.parametrize('change, message', [
    (dict(points=torch.zeros(4, 2)), 'x, y, z'),
    (dict(points=torch.zeros(4)), r'shape \(N, C\)'),
    (dict(points=torch.zeros(4, 3, dtype=torch.int32)), 'not int32'),
    (dict(points=[[0., 0., 0.]]), r'points\[0\] must be a tensor'),
    (dict(points=[]), 'empty'),
    (dict(points=[torch.zeros(2, 3), torch.zeros(2, 4)]), r'points\[1\]'),
    (dict(voxel_size=(0.5, -0.4, 1.)), 'must be positive'),
    (dict(voxel_size=(0.5, 0., 1.)), 'must be positive'),
    (dict(voxel_size=(0.5, math.nan, 1.)), 'finite'),
    (dict(voxel_size=(0.5, 0.4)), '3 finite numbers'),
    (dict(voxel_size=0.5), '3 numbers'),
    (dict(voxel_size='big'), "voxel_size must be 3 numbers, not 'big'"),
    (dict(voxel_size=(1e-60, 1., 1.)), 'float32'),
    (dict(point_cloud_range=(0., 0., 0., 1e39, 9., 9.)), 'float32'),
    (dict(point_cloud_range=(0., 0., 0., 1., -1., 1.)), 'along y'),
    (dict(point_cloud_range=(0., 0., 0., 0.1, 9., 9.)), '0 voxels along x'),
    (dict(voxel_size=(1e-9, 1., 1.)), 'at most 2147483647'),
    (dict(voxel_size=(1e-8, 1e-8, 1e-8)), 'int64'),
    (dict(batch_index=torch.zeros(3, dtype=torch.long)), r'batch_index must have shape \(4\)'),
    (dict(batch_index=torch.zeros(4)), 'batch_index must be int32, int64'),
    (dict(batch_index=torch.tensor([0, 1, 2, 3]), batch_size=3), r'\[0, 3\)'),
    (dict(batch_index=torch.tensor([0, -1, 0, 0]), batch_size=3), r'\[0, 3\)'),
    (dict(batch_size=2), 'needs a batch_index'),
    (dict(batch_size=0, batch_index=torch.zeros(4, dtype=torch.long)), 'batch_size'),
])
def test_refusals_name_the_argument(change, message):
    args = dict(points=torch.zeros(4, 3), voxel_size=SIZE, point_cloud_range=RANGE) | change
    with pytest.raises(ValueError, match=message):
        voxel_index(**args)


def test_a_cloud_without_z_is_never_read_past_its_end():
    with pytest.raises(ValueError, match=r'dynamic_voxelize: points .* channels x, y, z'):
        dynamic_voxelize(torch.zeros(4, 2), SIZE, RANGE)
    with pytest.raises(RuntimeError):  # past the checks of the Python side
        torch.ops.mmkd.voxel_keys(torch.zeros(4, 2), None, 1, SIZE, RANGE[:3], [4, 4, 4])


def test_a_range_beyond_int64_is_refused_by_the_batch():
    wide = dict(voxel_size=(1., 1., 1.), point_cloud_range=(0., 0., 0., 2e9, 2e9, 2.))
    voxel_index(torch.zeros(1, 3), **wide)
    with pytest.raises(ValueError, match='int64'):
        voxel_index([torch.zeros(1, 3)] * 3, **wide)


def test_float32_rounds_as_float32_does():
    values = torch.cat([torch.randn(2000, dtype=torch.float64) * 100,
                        torch.tensor([0.075, 0.1, 2 ** -24 + 1., 16777217.], dtype=torch.float64)])
    assert [float32(v) for v in values.tolist()] == values.float().double().tolist()


def test_same_bits_for_any_number_of_threads():
    points, batch = cloud(100_000), torch.randint(4, (100_000,))
    assert_repeatable(lambda: tuple(voxel_index(points, SIZE, RANGE, batch, 4))[:5])


@pytest.mark.parametrize('device', DEVICES)
def test_compiles_into_one_graph(device):
    def run(points, batch):
        index = voxel_index(points, SIZE, RANGE, batch, 3)
        return index.coors, index.counts, index.inverse, index.point_coors
    points, batch = cloud(200, device=device), torch.randint(2, (200,), device=device)
    compiled = torch.compile(run, fullgraph=True, backend='aot_eager')
    for a, b in zip(compiled(points, batch), run(points, batch), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('device', DEVICES)
def test_operators_are_well_formed(device):
    points = cloud(50, device=device)
    grid = make_grid('test', SIZE, RANGE)
    args = (points, None, 1, list(grid.voxel_size), list(grid.low), list(grid.cells))
    torch.library.opcheck(voxel_keys, args)
    torch.library.opcheck(voxel_coors, (voxel_keys(*args), list(grid.cells), True))
