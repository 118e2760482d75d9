"""Furthest point sampling by coordinates and by a matrix of distances."""
import numpy as np
import pytest
import torch

from mmkd.ops.point_sampling import (
    furthest_point_sample,
    furthest_point_sample_with_dist,
    furthest_points_reference,
    furthest_rows_reference,
)

from .common import DEVICES, FLOATS, assert_repeatable, on, same_bits


def slow(points, count):
    """The definition with Python's loops, in the precision that is promised."""
    kind = np.float64 if points.dtype == torch.float64 else np.float32
    out = []
    for cloud in points.cpu().double().numpy().astype(kind):
        finite = np.isfinite(cloud).all(1)
        taken, nearest = [0], [np.inf if f else -1 for f in finite]
        while len(taken) < count:
            best = 0
            for k, (x, y, z) in enumerate(cloud):
                with np.errstate(all='ignore'):
                    dx, dy, dz = (a - b for a, b in zip((x, y, z), cloud[taken[-1]],
                                                        strict=True))
                    distance = dx * dx + dy * dy + dz * dz
                if distance < nearest[k]:
                    nearest[k] = distance
                if nearest[k] > nearest[best]:
                    best = k
            taken.append(best)
        out.append(taken[:count])
    return torch.tensor(out, dtype=torch.int32).reshape(len(points), count)


def make_points(b, n, dtype=torch.float32, device='cpu', levels=None):
    generator = torch.Generator().manual_seed(b + n)
    if levels:
        return torch.randint(0, levels, (b, n, 3), generator=generator).to(device, dtype)
    return torch.randn(b, n, 3, generator=generator).to(device, dtype)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('levels', [None, 3])
@pytest.mark.parametrize('n,count', [(100, 20), (33, 33), (7, 12), (1, 3), (5, 0), (5, 1)])
def test_against_a_loop(device, dtype, levels, n, count):
    points = make_points(2, n, dtype, device, levels)
    out = furthest_point_sample(points, count)
    assert out.dtype == torch.int32 and out.shape == (2, count)
    assert torch.equal(out.cpu(), slow(points, count))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('n', [600, 2000, 511])
def test_against_reference(device, dtype, n):
    points = make_points(3, n, dtype)
    assert torch.equal(on(device, torch.ops.mmkd.furthest_points, points, 100),
                       furthest_points_reference(points, 100))
    matrix = torch.cdist(points, points).square()
    assert torch.equal(on(device, torch.ops.mmkd.furthest_rows, matrix, 100),
                       furthest_rows_reference(matrix, 100))


@pytest.mark.parametrize('device', DEVICES)
def test_hand_computed(device):
    points = torch.tensor([[[0., 0, 0], [1, 0, 0], [10, 0, 0], [4, 0, 0], [-10, 0, 0]]],
                          device=device)
    # Both ends are equally far from 0: the lower index first. Then 3 (4 from 0), then 1.
    assert furthest_point_sample(points, 7).tolist() == [[0, 2, 4, 3, 1, 0, 0]]


@pytest.mark.parametrize('device', DEVICES)
def test_matrix_as_coordinates(device):
    points = make_points(2, 80, torch.float64, device, levels=50)
    squares = (points[:, :, None] - points[:, None]).square().sum(3)
    assert torch.equal(furthest_point_sample_with_dist(squares, 90),
                       furthest_point_sample(points, 90))


@pytest.mark.parametrize('device', DEVICES)
def test_not_finite(device):
    points = make_points(3, 50, device=device)
    points[0, 7], points[0, 9, 1], points[0, 30, 2] = float('nan'), float('inf'), -float('inf')
    points[1, 0] = float('nan')
    points[2] = float('inf')
    out = furthest_point_sample(points, 60)
    assert torch.equal(out.cpu(), slow(points, 60))
    assert sorted(set(out[0].tolist())) == sorted(set(range(50)) - {7, 9, 30})
    assert sorted(set(out[1].tolist())) == list(range(50))
    assert (out[2] == 0).all()
    points = points.cpu()
    matrix = torch.cdist(points[:1, 10:20], points[:1, 10:20])
    matrix[0, :, 3] = float('nan')  # unknown: as far as anything can be
    out = on(device, furthest_point_sample_with_dist, matrix, 2)
    assert torch.equal(out, furthest_rows_reference(matrix, 2)) and out[0, 1] == 3


@pytest.mark.parametrize('device', DEVICES)
def test_far_apart(device):
    """Distances that overflow are further than all others."""
    points = torch.zeros(1, 6, 3, device=device)
    points[0, :, 0] = torch.tensor([0, 1, -3e38, 3e38, 2, 1e30])
    out = furthest_point_sample(points, 6)
    assert torch.equal(out.cpu(), slow(points, 6)) and out[0, 1] == 2


@pytest.mark.parametrize('device', DEVICES)
def test_empty(device):
    assert furthest_point_sample(torch.zeros(0, 5, 3, device=device), 4).shape == (0, 4)
    assert furthest_point_sample(torch.zeros(2, 0, 3, device=device), 0).shape == (2, 0)
    with pytest.raises(ValueError, match='points has no point'):
        furthest_point_sample(torch.zeros(2, 0, 3, device=device), 1)
    with pytest.raises(ValueError, match='distances has no point'):
        furthest_point_sample_with_dist(torch.zeros(2, 0, 0, device=device), 1)
    # torch.ops has no such check, and marks what it cannot give.
    assert (torch.ops.mmkd.furthest_points(torch.zeros(2, 0, 3, device=device), 3) == -1).all()


def test_refuses():
    points = make_points(2, 5)
    for bad in (-1, 2., None):
        with pytest.raises(ValueError, match='num_points must be'):
            furthest_point_sample(points, bad)
    with pytest.raises(ValueError, match='points must have shape'):
        furthest_point_sample(points[..., :2], 2)
    with pytest.raises(ValueError, match='points must be float32'):
        furthest_point_sample(points.long(), 2)
    with pytest.raises(ValueError, match='distances must have shape'):
        furthest_point_sample_with_dist(points, 2)


@pytest.mark.parametrize('device', DEVICES)
def test_repeatable_compiled_strides_and_opcheck(device):
    points = make_points(5, 700, device=device, levels=20)
    expected = furthest_point_sample(points, 90)
    assert_repeatable(lambda: furthest_point_sample(points, 90))
    compiled = torch.compile(lambda p: furthest_point_sample(p, 90), fullgraph=True,
                             backend='aot_eager')
    assert same_bits(compiled(points), expected)
    assert same_bits(furthest_point_sample(points.mT.contiguous().mT, 90), expected)
    torch.library.opcheck(torch.ops.mmkd.furthest_points, (points[:, :9], 5))
    torch.library.opcheck(torch.ops.mmkd.furthest_rows, (torch.cdist(points, points), 5))
