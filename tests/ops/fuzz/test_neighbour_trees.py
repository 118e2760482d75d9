"""knn and ball_query of clouds that are large enough for trees, against the reference."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.ops.neighbours import ball_query_reference, knn_reference

from ..common import DEVICES, FUZZ, same_bits, threads

KINDS = ['uniform', 'grid', 'one point', 'line', 'clusters', 'surface', 'far', 'tiny', 'awkward',
         'not finite', 'sorted', 'sphere']
NOT_FINITE = torch.tensor([float('nan'), float('inf'), -float('inf')])
HUGE = torch.tensor([0., -0., 1., 1e-40, 3e38, -3e38, 1e19, -1e19, 1e-23])
SEEDS = st.integers(0, 2 ** 16)
DTYPES = st.sampled_from([torch.float32, torch.float64])
FEW = settings(FUZZ, max_examples=max(1, FUZZ.max_examples // 16))  # of each kind of cloud


def cloud(kind, b, n, seed):
    """(B, N, 3) float32, from a generator of the seed."""
    g = torch.Generator().manual_seed(seed)
    points = torch.rand(b, n, 3, generator=g)
    if kind == 'grid':  # many equal points and many equal distances
        points = torch.randint(0, 6, (b, n, 3), generator=g).float()
    elif kind == 'one point':
        points = torch.full((b, n, 3), .3)
    elif kind == 'line':
        points[..., 1:] = .5
    elif kind == 'clusters':
        points += 1e5 * torch.randint(0, 2, (b, n, 1), generator=g)
    elif kind == 'surface':
        points[..., 2] = 0
    elif kind == 'far':  # few float32 values in each axis
        points += 1e6
    elif kind == 'tiny':  # squares that are subnormal, or zero
        points *= 1e-22
    elif kind == 'awkward':
        points = HUGE[torch.randint(0, len(HUGE), (b, n, 3), generator=g)]
    elif kind == 'not finite':
        wild = NOT_FINITE[torch.randint(0, 3, (b, n, 3), generator=g)]
        points = torch.where(torch.rand(b, n, 3, generator=g) < .2, wild, points)
    elif kind == 'sorted':
        points = points.sort(1).values
    elif kind == 'sphere':
        points = torch.nn.functional.normalize(points - .5, dim=-1)
    return points


def queries_of(points, q, kind, seed):
    """Queries in a cloud, a third of them points of it, some far outside."""
    other = cloud(kind, len(points), q, seed + 1)
    g = torch.Generator().manual_seed(seed + 2)
    if points.shape[1]:
        picked = torch.randint(0, points.shape[1], (q,), generator=g)
        other = torch.where(torch.rand(q, 1, generator=g) < .3, points[:, picked], other)
    if kind == 'sphere':
        other[:, ::2] = 0  # as far from every point, but for rounding
    other[:, ::17] *= 50
    return other


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('kind', KINDS)
@FEW
@given(b=st.integers(1, 2), n=st.integers(128, 2500), k=st.sampled_from([1, 3, 16, 50, 128, 256]),
       dtype=DTYPES, lengths=st.booleans(), seed=SEEDS)
def test_knn(device, kind, b, n, k, dtype, lengths, seed):
    points = cloud(kind, b, n, seed)
    query = queries_of(points, 600, kind, seed).to(device, dtype)
    points = points.to(device, dtype)
    counts = [torch.tensor([600, 390][:b]), torch.tensor([n, n // 2][:b])] if lengths else []
    counts = [t.to(device) for t in counts] or [None, None]
    results = torch.ops.mmkd.knn(query, points, k, *counts)
    for a, expected in zip(results, knn_reference(query, points, k, *counts), strict=True):
        assert same_bits(a, expected)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('kind', KINDS)
@FEW
@given(b=st.integers(1, 2), n=st.integers(2048, 4000), samples=st.sampled_from([1, 16, 32, 200]),
       dtype=DTYPES, low=st.sampled_from([0., 0., .05, 1.]),
       wide=st.sampled_from([1e-44, .001, .01, 1., 1e9, float('inf')]), seed=SEEDS)
def test_ball_query(device, kind, b, n, samples, dtype, low, wide, seed):
    points = cloud(kind, b, n, seed)
    centers = queries_of(points, 2000, kind, seed).to(device, dtype)
    points = points.to(device, dtype)
    out = torch.ops.mmkd.ball_query(centers, points, low, low + wide, samples)
    assert same_bits(out, ball_query_reference(centers, points, low, low + wide, samples))


@pytest.mark.parametrize('count', [1, 2, 5])
def test_threads_do_not_matter(count):
    points, centers = cloud('clusters', 1, 9000, 0), cloud('clusters', 1, 1100, 1)
    near, far = knn_reference(centers, points, 4, None, None)
    first = ball_query_reference(centers, points, 0., 1e-3, 8)
    with threads(count):
        a, b = torch.ops.mmkd.knn(centers, points, 4, None, None)
        assert same_bits(a, near) and same_bits(b, far)
        assert same_bits(torch.ops.mmkd.ball_query(centers, points, 0., 1e-3, 8), first)


@pytest.mark.parametrize('steps', [-1, 0, 1])
def test_a_radius_at_the_distance_of_a_point(steps):
    """Points at one rounded distance from the center, and the numbers on both sides of it."""
    points = cloud('sphere', 1, 5000, 3)
    centers = torch.zeros(1, 1100, 3)
    square = points[0, :, 0].square() + points[0, :, 1].square() + points[0, :, 2].square()
    edge = square.median()
    limit = torch.nextafter(edge, edge + steps) if steps else edge
    out = torch.ops.mmkd.ball_query(centers, points, 0., float(limit), 5000)
    hits = (square < limit).nonzero()[:, 0].int()
    assert 0 < len(hits) < 5000 and torch.equal(out[0, 7, :len(hits)], hits)
