"""Sizes at which the CUDA kernels do something else: tiles, threads of a query, clusters."""
import pytest
import torch

from mmkd.ops.neighbours import ball_query_reference, knn_reference
from mmkd.ops.point_sampling import furthest_points_reference, furthest_rows_reference

from .common import DEVICES, on, same_bits

WIDE = [torch.float32, torch.float64]


def cloud(seed, *shape, levels=None, dtype=torch.float32):
    """Random coordinates; with ``levels`` on a grid, where many distances are equal."""
    generator = torch.Generator().manual_seed(seed)
    if levels:
        return torch.randint(0, levels, shape, generator=generator).to(dtype)
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)


# A block holds 2,048 points in few registers and 8,192 in all, a cluster eight times as many.
@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', WIDE)
@pytest.mark.parametrize('levels', [None, 9])
@pytest.mark.parametrize('n', [1024, 1025, 2049, 4097, 8193, 9001, 16_385, 140_000])
def test_furthest_points(device, dtype, levels, n):
    points = cloud(n, 2, n, 3, levels=levels, dtype=dtype)
    points[0, n // 2] = float('nan')
    assert same_bits(on(device, torch.ops.mmkd.furthest_points, points, 9),
                     furthest_points_reference(points, 9))


@pytest.mark.parametrize('device', DEVICES)
def test_the_last_point_is_furthest(device):
    for n in (513, 2049, 4097, 16_385, 66_000):
        points = torch.zeros(1, n, 3)
        points[0, -1, 0], points[0, n // 3, 0], points[0, n // 3 + 1, 0] = 9, -4, -4
        out = on(device, torch.ops.mmkd.furthest_points, points, 4)
        assert out.tolist() == [[0, n - 1, n // 3, 0]]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('n', [8700, 17_000, 140_000])
def test_equally_far_points_of_one_thread(device, n):
    points = torch.zeros(1, n, 3)
    points[0, [n - 1 - 4096, n - 1], 1] = 7  # threads of a block and of a cluster have both
    assert on(device, torch.ops.mmkd.furthest_points, points, 3).tolist() == [[0, n - 4097, 0]]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('n', [1025, 2049, 4500])
def test_furthest_rows(device, n):
    matrix = cloud(n, 1, n, n, levels=400)
    assert same_bits(on(device, torch.ops.mmkd.furthest_rows, matrix, 9),
                     furthest_rows_reference(matrix, 9))


# Few neighbours: 1 to 32 threads for each query, tiles of 1,024 and 384 points.
@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', WIDE)
@pytest.mark.parametrize('levels', [None, 3])
@pytest.mark.parametrize('b,q,n,c', [(1, 131_100, 7, 3), (2, 40_000, 9, 3), (1, 20_000, 33, 2),
                                     (2, 5000, 40, 8), (1, 9000, 20, 1), (2, 33, 2100, 3),
                                     (3, 17, 1024, 3), (1, 600, 385, 8), (1, 5, 800, 6)])
def test_few_neighbours(device, dtype, levels, b, q, n, c):
    query, points = (cloud(seed, b, count, c, levels=levels, dtype=dtype)
                     for seed, count in ((1, q), (2, n)))
    lengths = (torch.randint(0, q + 1, (b,)), torch.randint(0, n + 1, (b,)))
    for k in (1, 3, 4):
        for given in ((None, None), lengths):
            for out, expected in zip(on(device, torch.ops.mmkd.knn, query, points, k, *given),
                                     knn_reference(query, points, k, *given), strict=True):
                assert same_bits(out, expected)


# A warp for each of the 16 centers of a block, tiles of 1,024 points.
@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', WIDE)
@pytest.mark.parametrize('b,q,n', [(2, 1, 1023), (1, 15, 1024), (3, 16, 1025), (2, 17, 2500),
                                   (1, 33, 31), (1, 40, 4200)])
def test_ball_query(device, dtype, b, q, n):
    points, centers = (cloud(seed, b, count, 3, levels=7, dtype=dtype)
                       for seed, count in ((1, n), (2, q)))
    # Two stay empty, a first one is full at once, and others look through all points.
    centers[:, -2:] = 50
    points[:, :9] = centers[:, :1]
    for samples in (1, 8, 31, 32, 33, 100):
        for low, high in ((0., 1.), (1., 9.), (0., 1e9)):
            assert same_bits(
                on(device, torch.ops.mmkd.ball_query, centers, points, low, high, samples),
                ball_query_reference(centers, points, low, high, samples))
