"""devoxelize_trilinear and supervoxels, against plain Python."""
import itertools
import math

import pytest
import torch

from mmkd.ops import devoxelize_trilinear, padded_members, supervoxel_index, voxel_index
from mmkd.ops.devoxelize import _trilinear_corners, trilinear_corners_reference

from .common import DEVICES, FLOATS, assert_repeatable, on

SIZE, RANGE = (0.5, 0.4, 1.), (-2., -2., -1., 2., 2., 3.)


def example(n=300, c=4, samples=2, dtype=torch.float64, device='cpu', spread=4.5):
    points = ((torch.rand(n, 3, dtype=torch.float64) - 0.5) * spread).to(dtype).to(device)
    batch = torch.randint(samples, (n,), device=device)
    index = voxel_index(points, SIZE, RANGE, batch, samples)
    features = torch.randn(len(index.unique), c, dtype=torch.float64).to(dtype).to(device)
    return features, points, index, batch


def plain(features, points, index, batch, shift):
    """Every corner by name: b, z, y, x -> row, weights by products of distances."""
    rows = {tuple(c): m for m, c in enumerate(index.coors.tolist())}
    out = []
    for point, b in zip(points.tolist(), batch.tolist(), strict=True):
        q = [(p - low) / s - shift
             for p, low, s in zip(point, index.grid.low, index.grid.voxel_size, strict=True)]
        total, weights = torch.zeros(features.shape[1], dtype=features.dtype), 0.
        for up in itertools.product((0, 1), repeat=3):
            cell = [math.floor(v) + u for v, u in zip(q, up, strict=True)]
            row = rows.get((b, *cell[::-1]))
            if row is not None:
                w = math.prod(1 - abs(v - c) for v, c in zip(q, cell, strict=True))
                total, weights = total + w * features[row], weights + w
        out.append(total / (weights + 1e-8))
    return torch.stack(out)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('node, shift', [('corner', 0.), ('center', 0.5)])
def test_against_plain_python(node, shift, device):
    features, points, index, batch = example()
    out = on(device, devoxelize_trilinear, features, points, index, batch, node)
    expected = plain(features, points, index, batch, shift)
    # The kernel subtracts the float32 value of the sizes, Python the exact decimal.
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)


def test_linear_functions_are_reproduced_inside():
    """With features at the centers and all eight there, interpolation of x is x."""
    axes = [torch.arange(n, dtype=torch.float64) for n in (8, 10, 4)]
    grid = torch.stack(torch.meshgrid(*axes, indexing='ij'), -1).reshape(-1, 3)
    centers = (grid + 0.5) * torch.tensor(SIZE).double() + torch.tensor(RANGE[:3])
    index = voxel_index(centers, SIZE, RANGE)
    features = torch.zeros(len(centers), 3, dtype=torch.float64)
    features[index.inverse] = centers
    points = (torch.rand(500, 3, dtype=torch.float64) - 0.5) * torch.tensor([3.4, 3.5, 2.9])
    points[:, 2] += 1
    out = devoxelize_trilinear(features, points, index, node='center')
    torch.testing.assert_close(out, points, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('shift', [0., 0.5])
def test_corners_equal_the_reference_bit_for_bit(dtype, shift, device):
    _, points, index, batch = example(2000, dtype=dtype)
    grid = index.grid
    args = (points, batch, index.unique, 2, list(grid.voxel_size), list(grid.low),
            list(grid.cells), shift)
    (a, w), (b, v) = on(device, _trilinear_corners, *args), trilinear_corners_reference(*args)
    assert torch.equal(a, b) and torch.equal(w, v)
    assert (a >= 0).any() and (a < 0).any()


@pytest.mark.parametrize('device', DEVICES)
def test_nothing_around_gives_zeros(device):
    features, points, index, batch = example(device=device)
    strange = torch.tensor([[99., 0, 0], [math.nan, 0, 0], [0, math.inf, 0], [0, 0, -1e300],
                            [-2.6, 0, 0]], dtype=torch.float64, device=device)
    out = devoxelize_trilinear(features, [strange, strange], index)
    assert not out.any()
    nothing = voxel_index(points + 99, SIZE, RANGE, batch, 2)
    assert not devoxelize_trilinear(features[:0], points, nothing, batch).any()
    assert devoxelize_trilinear(features, points[:0], index, batch[:0]).shape == (0, 4)


@pytest.mark.parametrize('device', DEVICES)
def test_gradient_reaches_the_features_alone(device):
    features, points, index, batch = example(40, 2, device=device)
    features.requires_grad_()
    points.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f: devoxelize_trilinear(f, points, index, batch), features)
    out = devoxelize_trilinear(features, points, index, batch)
    assert torch.autograd.grad(out.sum(), points, allow_unused=True) == (None,)


def test_same_bits_for_any_number_of_threads():
    features, points, index, batch = example(20_000, 8, dtype=torch.float32)
    features.requires_grad_()

    def run():
        out = devoxelize_trilinear(features, points, index, batch)
        return out, torch.autograd.grad(out.square().sum(), features)[0]
    assert_repeatable(run)


@pytest.mark.parametrize('call, message', [
    (lambda f, p, i, b: devoxelize_trilinear(f[1:], p, i, b), 'features must have shape'),
    (lambda f, p, i, b: devoxelize_trilinear(f, p, i), '2 samples'),
    (lambda f, p, i, b: devoxelize_trilinear(f, p, i, b, node='middle'), "'corner', 'center'"),
    (lambda f, p, i, b: devoxelize_trilinear(f, p[:, :2], i, b), 'x, y, z'),
    (lambda f, p, i, b: devoxelize_trilinear(f, p, i.unique, b), 'VoxelIndex'),
    (lambda f, p, i, b: devoxelize_trilinear(f, p, i, b + 1), r'\[0, 2\)'),
    (lambda f, p, i, b: supervoxel_index(i, (2, 2)), '3 integers'),
    (lambda f, p, i, b: supervoxel_index(i, (2, 0, 2)), 'at least 1'),
    (lambda f, p, i, b: supervoxel_index(i, (2, 2, 2), of='cells'), "'points', 'voxels'"),
    (lambda f, p, i, b: supervoxel_index(i.unique, (2, 2, 2)), 'VoxelIndex'),
    (lambda f, p, i, b: padded_members(i, torch.tensor([10 ** 6]), 3), 'segments'),
    (lambda f, p, i, b: padded_members(i, torch.tensor([0]), 0), 'at least 1'),
])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(*example())


@pytest.mark.parametrize('device', DEVICES)
def test_supervoxels_are_the_voxels_of_a_coarser_grid(device):
    _, points, index, batch = example(device=device)
    blocks = supervoxel_index(index, (2, 5, 2))
    coarse = voxel_index(points, (1., 2., 2.), RANGE, batch, 2)
    assert blocks.grid.cells == coarse.grid.cells == (4, 2, 2)
    for name in ('keys', 'unique', 'inverse', 'order', 'starts'):
        assert torch.equal(getattr(blocks, name), getattr(coarse, name)), name
    of_voxels = supervoxel_index(index, (2, 5, 2), of='voxels')
    assert torch.equal(of_voxels.unique, blocks.unique)
    inside = index.inverse >= 0
    assert torch.equal(of_voxels.inverse[index.inverse[inside]], blocks.inverse[inside])


def test_blocks_are_cut_short_at_the_end_of_the_grid():
    _, _, index, _ = example()
    blocks = supervoxel_index(index, (3, 4, 3))
    assert blocks.grid.cells == (3, 3, 2)
    assert torch.equal(blocks.point_coors[:, 3], index.point_coors[:, 3].div(
        3, rounding_mode='floor'))


def test_padded_members():
    ids = torch.tensor([1., 0., 1., 1., 9., 2.]) + 0.5
    points = torch.stack([ids, torch.zeros(6), torch.zeros(6)], 1)
    index = voxel_index(points, (1., 1., 1.), (0., -1., -1., 3., 1., 1.))
    assert padded_members(index, torch.tensor([1, 0, 2]), 2).tolist() == [[0, 2], [1, -1], [5, -1]]
    g = torch.Generator().manual_seed(0)
    seen = [padded_members(index, torch.tensor([1]), 2, g)[0].tolist() for _ in range(60)]
    assert {frozenset(s) for s in seen} == {frozenset(s) for s in ([0, 2], [0, 3], [2, 3])}
    empty = voxel_index(points[:0], (1., 1., 1.), (0., -1., -1., 3., 1., 1.))
    assert padded_members(empty, torch.zeros(0, dtype=torch.long), 2).shape == (0, 2)


@pytest.mark.parametrize('device', DEVICES)
def test_compiles_and_is_well_formed(device):
    features, points, index, batch = example(30, device=device)

    def run(f, p, b):
        index = voxel_index(p, SIZE, RANGE, b, 2)
        blocks = supervoxel_index(index, (2, 2, 2))
        return devoxelize_trilinear(f, p, index, b), blocks.coors
    compiled = torch.compile(run, fullgraph=True, backend='aot_eager')
    for a, b in zip(compiled(features, points, batch), run(features, points, batch), strict=True):
        assert torch.equal(a, b)
    grid = index.grid
    torch.library.opcheck(_trilinear_corners, (
        points, batch, index.unique, 2, list(grid.voxel_size), list(grid.low), list(grid.cells),
        0.5))
