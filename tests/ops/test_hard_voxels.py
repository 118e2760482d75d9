"""hard_voxelize and HardVoxelization: which points of which voxels are kept, and in what order."""
import pytest
import torch

from mmkd.ops.hard_voxels import HardVoxelization, hard_voxelize, hard_voxelize_reference
from mmkd.ops.voxels import dynamic_voxelize

from .common import DEVICES, FLOATS, assert_repeatable, on, same_bits

SIZE, RANGE = (.5, .25, 1.), (-4., -3., -2., 4., 3., 2.)
LOW, CELLS = [-4., -3., -2.], [16, 24, 4]


def cloud(n, channels=5, dtype=torch.float32, device='cpu', seed=0):
    """Points around the range, about one in ten outside, many of them in few voxels."""
    g = torch.Generator().manual_seed(seed)
    points = torch.randn(n, channels, generator=g, dtype=torch.float64)
    points[:, :3] *= torch.tensor([2.2, 1.4, .9])
    return points.to(device, dtype)


def kernel(points, max_points=3, max_voxels=-1):
    return torch.ops.mmkd.hard_voxelize(points, list(SIZE), LOW, CELLS, max_points, max_voxels)


def slow(points, max_points, max_voxels=None):
    """The definition, one point after the other."""
    coors = dynamic_voxelize(points, SIZE, RANGE).tolist()
    kept = {}
    for i, cell in enumerate(map(tuple, coors)):
        if cell[0] < 0 or (cell not in kept and len(kept) == max_voxels):
            continue
        chosen = kept.setdefault(cell, [])
        if len(chosen) < max_points:
            chosen.append(i)
    voxels = points.new_zeros(len(kept), max_points, points.shape[1])
    for row, chosen in zip(voxels, kept.values(), strict=True):
        row[:len(chosen)] = points[chosen]
    cells = torch.tensor(list(kept), dtype=torch.int32).view(-1, 3)
    counts = torch.tensor([len(c) for c in kept.values()], dtype=torch.int32)
    return voxels, cells, counts


def assert_same(got, expected):
    for a, b in zip(got, expected, strict=True):
        assert same_bits(a.cpu(), b.cpu())


def test_hand_computed():
    points = torch.tensor([[0.1, 0, 0], [9, 0, 0], [1.2, 0, 0], [.2, 0, 0], [.3, 0, 0],
                           [2.2, 0, 0], [1.3, 0, 0]])
    voxels, coors, counts = hard_voxelize(points, (1, 1, 1), (0, 0, 0, 4, 4, 4), 2, 2)
    assert coors.tolist() == [[0, 0, 0], [0, 0, 1]]  # 2.2 came when two were open
    assert counts.tolist() == [2, 2]  # 1.3 came later still, into an open one
    torch.testing.assert_close(voxels[:, :, 0], torch.tensor([[.1, .2], [1.2, 1.3]]))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize(('max_points', 'max_voxels'),
                         [(1, -1), (3, -1), (3, 40), (64, 1), (2, 0), (3, 10 ** 12)])
def test_kernel_against_reference(device, dtype, max_points, max_voxels):
    points = cloud(4000, dtype=dtype)
    expected = hard_voxelize_reference(points, list(SIZE), LOW, CELLS, max_points, max_voxels)
    assert_same(on(device, kernel, points, max_points, max_voxels), expected)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('max_voxels', [None, 60])
def test_against_slow_loop(device, max_voxels):
    points = cloud(1500)
    got = hard_voxelize(points.to(device), SIZE, RANGE, 4, max_voxels)
    assert_same(got, slow(points, 4, max_voxels))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize(('max_points', 'max_voxels'), [(1, 20000), (5, 20000), (5, 300)])
def test_against_mmcv(dtype, max_points, max_voxels):
    ops = pytest.importorskip('mmcv.ops', reason='compares with mmcv')
    points = cloud(6000, dtype=dtype)
    layer = ops.Voxelization(list(SIZE), list(RANGE), max_points, max_voxels,
                             deterministic=True)
    assert_same(hard_voxelize(points, SIZE, RANGE, max_points, max_voxels), layer(points))


def test_against_mmcv_on_a_range_that_is_no_multiple_of_the_voxels():
    ops = pytest.importorskip('mmcv.ops', reason='compares with mmcv')
    points, odd = cloud(3000), [.37, .41, .7]
    for size, bounds in ((odd, list(RANGE)), (odd, [-1.05, -1., -1., 2., 1.3, .6])):
        expected = ops.Voxelization(size, bounds, 4, 5000)(points)
        assert_same(hard_voxelize(points, size, bounds, 4, 5000), expected)


@pytest.mark.parametrize('device', DEVICES)
def test_more_cells_than_32_bits_number(device):
    points = torch.full((700, 3), .5)  # 2^32 cells from one layer to the next
    layers = torch.randperm(2 ** 20, generator=torch.Generator().manual_seed(0))[:500]
    points[:, 2] += layers.repeat(2)[:700]
    size, low, cells = [1e-4, 1e-4, 1.], [0., 0., 0.], [2 ** 16, 2 ** 16, 2 ** 20]
    got = torch.ops.mmkd.hard_voxelize(points.to(device), size, low, cells, 2, -1)
    assert_same(got, hard_voxelize_reference(points, size, low, cells, 2, -1))
    assert got[1][:, 0].tolist() == layers.tolist()
    assert got[2].tolist() == [2] * 200 + [1] * 300


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('points', [
    torch.zeros(0, 4), torch.full((5, 3), 100.), torch.full((3, 3), float('nan')),
    torch.full((3, 3), float('inf')), torch.full((3, 3), 3e38)])
def test_nothing_inside(device, points):
    points = points.to(device, copy=True).requires_grad_()
    voxels, coors, counts = hard_voxelize(points, SIZE, RANGE, 3, 10)
    assert voxels.shape == (0, 3, points.shape[1])
    assert coors.shape == (0, 3) and counts.shape == (0,)
    assert coors.dtype == counts.dtype == torch.int32
    voxels.sum().backward()
    assert points.grad.shape == points.shape and not points.grad.any()


@pytest.mark.parametrize('device', DEVICES)
def test_features_that_are_not_finite_are_copied(device):
    points = torch.tensor([[.1, .1, .1, float('nan')], [.1, .1, .1, float('inf')]],
                          device=device)
    voxels, _, counts = hard_voxelize(points, SIZE, RANGE, 3)
    assert same_bits(voxels[0, :2], points) and counts.tolist() == [2]
    assert not voxels[0, 2].any()


@pytest.mark.parametrize('device', DEVICES)
def test_not_contiguous(device):
    points = cloud(900, channels=8, device=device)
    for view in (points[:, ::2], points[::3], points.t().contiguous().t()):
        assert_same(hard_voxelize(view, SIZE, RANGE, 3, 50),
                    hard_voxelize(view.contiguous(), SIZE, RANGE, 3, 50))


def at_cell_centers(device):
    """Points that a small step leaves in their cell: three in one, one dropped there."""
    cells = torch.tensor([[1, 2, 1], [3, 3, 2], [1, 2, 1], [40, 0, 0], [1, 2, 1], [5, 5, 3]])
    xyz = (cells + .5) * torch.tensor(SIZE) + torch.tensor(LOW)
    return torch.cat([xyz, torch.randn(6, 2)], 1).double().to(device)


@pytest.mark.parametrize('device', DEVICES)
def test_gradient(device):
    points = at_cell_centers(device).requires_grad_()

    def run(points):
        return hard_voxelize(points, SIZE, RANGE, 2)[0]

    assert torch.autograd.gradcheck(run, points)
    assert torch.autograd.gradgradcheck(run, points)
    run(points).sum().backward()
    assert points.grad.sum(1).tolist() == [5, 5, 5, 0, 0, 5]


@pytest.mark.parametrize('device', DEVICES)
def test_opcheck(device):
    for points in (cloud(60, device=device), cloud(0, device=device),
                   cloud(60, device=device).requires_grad_()):
        torch.library.opcheck(torch.ops.mmkd.hard_voxelize.default,
                              (points, list(SIZE), LOW, CELLS, 3, 20))


@pytest.mark.parametrize('device', DEVICES)
def test_compiles_in_one_graph(device):
    def run(points):
        voxels, coors, counts = hard_voxelize(points, SIZE, RANGE, 3, 200)
        return voxels.sum(1) / counts[:, None], coors

    compiled = torch.compile(run, fullgraph=True, backend='aot_eager')
    for n in (300, 400):  # the second makes N dynamic
        points = cloud(n, device=device).requires_grad_()
        expected, got = run(points), compiled(points)
        assert_same(got, expected)
        grads = [torch.autograd.grad(out[0].square().sum(), points)[0]
                 for out in (expected, got)]
        assert same_bits(*grads)


@pytest.mark.parametrize('device', DEVICES)
def test_repeatable_on_any_number_of_threads(device):
    points = cloud(70_000, device=device)
    size, cells = [.05, .05, .2], [160, 120, 20]
    assert_repeatable(lambda: torch.ops.mmkd.hard_voxelize(points, size, LOW, cells, 2, 30_000))


@pytest.mark.parametrize(('change', 'message'), [
    (dict(points=torch.zeros(4, 2)), 'at least the channels x, y, z'),
    (dict(points=torch.zeros(4)), r'shape \(N, C\)'),
    (dict(points=torch.zeros(4, 3, dtype=torch.int64)), 'must be float32'),
    (dict(points=[[0., 0, 0]]), 'must be a tensor'),
    (dict(voxel_size=(1, 1, -1)), 'must be positive'),
    (dict(voxel_size=(1, 1)), '3 finite numbers'),
    (dict(point_cloud_range=(0, 0, 0, 1, 0, 1)), 'below its maximum'),
    (dict(max_points=0), 'at least 1'),
    (dict(max_points=2.), 'must be an integer'),
    (dict(max_points=2 ** 31), 'at most'),
    (dict(max_voxels=-2), 'at least 0'),
])
def test_refuses(change, message):
    arguments = dict(points=torch.zeros(4, 3), voxel_size=SIZE, point_cloud_range=RANGE,
                     max_points=3, max_voxels=5)
    with pytest.raises(ValueError, match=f'hard_voxelize: .*{message}'):
        hard_voxelize(**{**arguments, **change})


def test_kernel_refuses_points_without_coordinates():
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        kernel(torch.zeros(4, 2))


def test_module_takes_other_limits_in_evaluation():
    points = cloud(2000)
    layer = HardVoxelization(SIZE, RANGE, 3, (20, 30), deterministic=False)
    assert len(layer(points)[0]) == 20
    assert_same(layer.eval()(points), hard_voxelize(points, SIZE, RANGE, 3, 30))


@pytest.mark.parametrize('limits', [(3, 100), (3, (50, 100)), (-1, 100), (-1, -1), (3, -1)])
def test_module_stands_in_for_mmcv(limits):
    ops = pytest.importorskip('mmcv.ops', reason='compares with mmcv')
    points = cloud(3000)
    ours = HardVoxelization(list(SIZE), list(RANGE), *limits)
    theirs = ops.Voxelization(list(SIZE), list(RANGE), *limits)
    for training in (True, False):
        got, expected = ours.train(training)(points), theirs.train(training)(points)
        if isinstance(expected, torch.Tensor):
            got, expected = [got], [expected]
        assert_same(got, expected)
    assert torch.equal(ours.grid_size, theirs.grid_size)
    assert list(map(int, ours.pcd_shape)) == list(map(int, theirs.pcd_shape))
    assert ours.max_voxels == theirs.max_voxels
    assert 'max_num_points=' in repr(ours)


@pytest.mark.parametrize('limits', [(0, 10), (3, 0), (3, (1, 2, 3)), (3, (10, 2.5))])
def test_module_refuses(limits):
    with pytest.raises(ValueError, match='HardVoxelization: max_'):
        HardVoxelization(SIZE, RANGE, *limits)
