"""knn, ball_query and furthest point sampling over generated clouds, against the reference."""
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkd.ops.neighbours import ball_query_reference, knn_reference
from mmkd.ops.point_sampling import furthest_points_reference, furthest_rows_reference

from ..common import DEVICES, FUZZ, on, same_bits

AWKWARD = torch.tensor([0., -0., 1., -1., 3e38, -3e38, 1e-40, float('inf'), -float('inf'),
                        float('nan'), 1e19, .1])
KINDS = st.sampled_from(['normal', 'grid', 'awkward'])
DTYPES = st.sampled_from([torch.float32, torch.float64])
SEEDS = st.integers(0, 2 ** 16)


def values(kind, seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    if kind == 'normal':
        return torch.randn(shape, generator=generator)
    if kind == 'grid':
        return torch.randint(0, 3, shape, generator=generator).float()
    return AWKWARD[torch.randint(0, len(AWKWARD), shape, generator=generator)]


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(b=st.integers(0, 3), q=st.integers(0, 9), n=st.integers(0, 70), c=st.integers(0, 10),
       k=st.integers(1, 20), kind=KINDS, dtype=DTYPES, lengths=st.booleans(), seed=SEEDS)
def test_knn(device, b, q, n, c, k, kind, dtype, lengths, seed):
    query = values(kind, seed, b, q, c).to(dtype)
    points = values(kind, seed + 1, b, n, c).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    counts = [torch.randint(0, most + 1, (b,), generator=generator)
              if lengths else None for most in (q, n)]
    results = on(device, torch.ops.mmkd.knn, query, points, k, *counts)
    for a, expected in zip(results, knn_reference(query, points, k, *counts), strict=True):
        assert a.shape == (b, q, k) and same_bits(a, expected)


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(b=st.integers(0, 3), q=st.integers(0, 9), n=st.integers(0, 300), kind=KINDS,
       dtype=DTYPES, samples=st.integers(1, 12), low=st.sampled_from([0., 1., 2.]),
       wide=st.sampled_from([1e-3, 1., 1e30, float('inf')]), seed=SEEDS)
def test_ball_query(device, b, q, n, kind, dtype, samples, low, wide, seed):
    centers = values(kind, seed, b, q, 3).to(dtype)
    points = values(kind, seed + 1, b, n, 3).to(dtype)
    out = on(device, torch.ops.mmkd.ball_query, centers, points, low, low + wide, samples)
    assert same_bits(out, ball_query_reference(centers, points, low, low + wide, samples))


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(b=st.integers(0, 3), n=st.integers(0, 90), count=st.integers(0, 12), kind=KINDS,
       dtype=DTYPES, seed=SEEDS)
def test_furthest_points(device, b, n, count, kind, dtype, seed):
    points = values(kind, seed, b, n, 3).to(dtype)
    assert same_bits(on(device, torch.ops.mmkd.furthest_points, points, count),
                     furthest_points_reference(points, count))
    matrix = values(kind, seed, b, n, n).to(dtype).abs()
    assert same_bits(on(device, torch.ops.mmkd.furthest_rows, matrix, count),
                     furthest_rows_reference(matrix, count))
