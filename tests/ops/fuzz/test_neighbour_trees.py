"""knn and ball_query of clouds that are large enough for trees, against the reference."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.ops.neighbours import ball_query, ball_query_reference, knn, knn_reference, three_nn

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


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('n', [128, 129, 511, 513, 2049, 2080, 2111, 4095, 4097, 8193])
def test_every_point_finds_itself(device, dtype, n):
    """No point is lost where a leaf, a block, a run or a range ends."""
    points = cloud('uniform', 1, n, n).to(device, dtype)
    who = torch.arange(n, device=device).repeat(1 + 384 // n)
    indices, squares = torch.ops.mmkd.knn(points[:, who], points, 1, None, None)
    assert torch.equal(indices[0, :, 0], who) and (squares == 0).all()
    out = torch.ops.mmkd.ball_query(points[:, who], points, 0., 1e-12, 2)
    assert torch.equal(out[0], who.int()[:, None].expand(-1, 2))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('k', [1, 5, 40])
def test_of_points_in_one_place_the_first(device, dtype, k):
    """Copies of few places, far apart in the indices: ties by index alone, in every leaf."""
    g = torch.Generator().manual_seed(k)
    places = torch.randint(0, 9, (1, 40, 3), generator=g).to(device, dtype).unique(dim=1)
    m = places.shape[1]
    points = places[:, torch.arange(4000, device=device) % m]
    who = torch.arange(1200, device=device) % m
    first = who[:, None] + m * torch.arange(k, device=device)
    indices, squares = torch.ops.mmkd.knn(places[:, who], points, k, None, None)
    assert torch.equal(indices[0], first) and (squares == 0).all()
    out = torch.ops.mmkd.ball_query(places[:, who], points, 0., .5, k)
    assert torch.equal(out[0], first.int())


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_corners_of_a_cell(device, dtype):
    """As far from the middle: a box counts whose edge is exactly as far as the worst so far."""
    side = torch.arange(16, dtype=dtype)
    points = torch.cartesian_prod(side, side, side)
    shuffle = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    middle = torch.cartesian_prod(side[:-1], side[:-1], side[:-1])[::2] + .5
    place = torch.empty_like(shuffle)
    place[shuffle] = torch.arange(len(points))
    low = (middle - .5).long()
    corners = low[:, None] + torch.cartesian_prod(*[torch.arange(2)] * 3)
    corners = place[(corners * torch.tensor([256, 16, 1])).sum(-1)].sort().values
    query, points = middle[None].to(device), points[None, shuffle].to(device)
    indices, squares = torch.ops.mmkd.knn(query, points, 5, None, None)
    assert torch.equal(indices[0].cpu(), corners[:, :5]) and (squares == .75).all()
    limit = float(torch.nextafter(torch.tensor(.75, dtype=dtype), torch.tensor(1., dtype=dtype)))
    out = torch.ops.mmkd.ball_query(query, points, .75, limit, 8)
    assert torch.equal(out[0].cpu(), corners.int())


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('k', [1, 3, 64])
@pytest.mark.parametrize('every', [1, 2, 20])
def test_some_queries_as_far_from_all_points(device, k, every):
    """A tree does not help these: they, and others where they are many, compare all points."""
    points = cloud('sphere', 1, 6000, k)
    query = cloud('sphere', 1, 500, k + 1)
    query[:, ::every] = 0
    results = torch.ops.mmkd.knn(query.to(device), points.to(device), k, None, None)
    for a, expected in zip(results, knn_reference(query, points, k, None, None), strict=True):
        assert same_bits(a.cpu(), expected)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('samples', [1, 16, 300])
@pytest.mark.parametrize('radius', [.03, .1, .3, 2.])
@pytest.mark.parametrize('far', [100, 512, 600, 3000])
def test_balls_that_begin_to_hit_late(device, samples, radius, far):
    points = cloud('uniform', 1, 5000, far)
    points[:, :far] += 100
    centers = cloud('uniform', 1, 1100, samples)
    out = torch.ops.mmkd.ball_query(centers.to(device), points.to(device), 0., radius ** 2, samples)
    assert same_bits(out.cpu(), ball_query_reference(centers, points, 0., radius ** 2, samples))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_types(device, dtype):
    points = cloud('uniform', 1, 3000, 5).to(device, dtype)  # many in one place
    query = cloud('uniform', 1, 1500, 6).to(device, dtype)
    near, squares = knn_reference(query.float(), points.float(), 3, None, None)
    indices, distances = knn(query, points, 3)
    assert torch.equal(indices, near) and same_bits(distances, squares)
    assert torch.equal(three_nn(query, points)[1], near.int())
    square = float(torch.tensor(.04).square())
    assert same_bits(ball_query(0, .04, 8, points, query),
                     ball_query_reference(query.float(), points.float(), 0., square, 8))
