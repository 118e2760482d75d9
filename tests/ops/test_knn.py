"""knn and three_nn: the definition, bit for bit on every device."""
import numpy as np
import pytest
import torch

from mmkd.ops import neighbours
from mmkd.ops.neighbours import knn, knn_reference, three_nn

from .common import DEVICES, FLOATS, assert_repeatable, on, recorded, same_bits

INF = float('inf')


def make_clouds(b, q, n, c, dtype=torch.float32, device='cpu', seed=0, levels=None):
    """Random clouds; with ``levels`` on a coarse grid, where many distances are equal."""
    generator = torch.Generator().manual_seed(seed)

    def one(count):
        if levels:
            return torch.randint(0, levels, (b, count, c), generator=generator).to(device, dtype)
        return torch.randn(b, count, c, generator=generator, dtype=torch.float64).to(
            device, dtype)

    return one(q), one(n)


def slow(query, points, k):
    """One query at a time in numpy, in the precision that is promised."""
    kind = np.float64 if query.dtype == torch.float64 else np.float32
    query, points = (t.cpu().to(torch.float64).numpy().astype(kind) for t in (query, points))
    b, q, c = query.shape
    indices = np.full((b, q, k), -1)
    distances = np.full((b, q, k), np.inf, kind)
    with np.errstate(all='ignore'):
        for s in range(b):
            for i in range(q):
                total = np.zeros(points.shape[1], kind)
                for channel in range(c):
                    difference = query[s, i, channel] - points[s, :, channel]
                    total = total + difference * difference
                found = [(d, j) for j, d in enumerate(total) if np.isfinite(d)]
                for j, (d, who) in enumerate(sorted(found)[:k]):
                    indices[s, i, j], distances[s, i, j] = who, d
    return torch.from_numpy(indices), torch.from_numpy(distances)


def assert_same(results, expected):
    for a, b in zip(results, expected, strict=True):
        assert same_bits(a.cpu(), b.cpu())


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('q,n,c,k', [(70, 300, 3, 3), (9, 130, 64, 16), (5, 40, 1, 1),
                                     (6, 50, 70, 20), (3, 17, 5, 40)])
@pytest.mark.parametrize('levels', [None, 3])
def test_against_a_loop(device, dtype, q, n, c, k, levels):
    query, points = make_clouds(2, q, n, c, dtype, device, levels=levels)
    results = knn(query, points, k)
    assert results[0].dtype == torch.int64
    assert results[1].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_same(results, slow(query, points, k))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('q,n,c,k', [(300, 2500, 64, 128), (2900, 3000, 4, 5), (100, 5000, 3, 3),
                                     (1, 3000, 130, 256), (65, 1025, 16, 100)])
def test_against_reference(device, dtype, q, n, c, k):
    query, points = make_clouds(2 if q < 1000 else 1, q, n, c, dtype)
    assert_same(on(device, torch.ops.mmkd.knn, query, points, k, None, None),
                knn_reference(query, points, k, None, None))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('reverse', [False, True])
def test_sorted_clouds(device, reverse):
    """The nearest points come first, or each is nearer than all before it."""
    points = torch.arange(4000., device=device)[:, None]
    points = points.flip(0) if reverse else points
    indices, distances = knn(torch.zeros(1, 1, device=device), points, 200)
    expected = torch.arange(200, device=device)
    assert torch.equal(indices[0], 3999 - expected if reverse else expected)
    assert torch.equal(distances[0], expected.float().square())


def test_reference_does_not_depend_on_its_tiles(monkeypatch):
    query, points = make_clouds(2, 30, 50, 6, levels=3)
    expected = knn_reference(query, points, 7, None, None)
    monkeypatch.setattr(neighbours, 'TILE_BYTES', 7 * 50 * 64)
    assert_same(knn_reference(query, points, 7, None, None), expected)


@pytest.mark.parametrize('device', DEVICES)
def test_hand_computed(device):
    points = torch.tensor([[0., 0.], [3., 4.], [1., 0.], [0., 1.], [-1., 0.]], device=device)
    indices, distances = knn(torch.tensor([[0., 0.], [3., 3.]], device=device), points, 3)
    assert indices.tolist() == [[0, 2, 3], [1, 2, 3]]
    assert distances.tolist() == [[0., 1., 1.], [1., 13., 13.]]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('k', [2, 6])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_lengths(device, k, dtype):
    query, points = make_clouds(4, 9, 40, 5, dtype, device)
    query_lengths = torch.tensor([9, 0, 3, 8], device=device)
    point_lengths = torch.tensor([40, 17, 0, 4], device=device, dtype=torch.int32)
    results = knn(query, points, k, query_lengths, point_lengths)
    for s in range(4):
        q, n = int(query_lengths[s]), int(point_lengths[s])
        alone = knn(query[s, :q], points[s, :n], k)
        assert_same([t[s, :q] for t in results], alone)
        assert (results[0][s, q:] == -1).all() and (results[1][s, q:] == INF).all()
    # What lies in the padding does not matter.
    points = points.clone()
    points[1, 17:] = float('nan')
    assert_same(knn(query, points, k, query_lengths, point_lengths), results)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('k', [3, 9])
def test_not_finite(device, dtype, k):
    query, points = make_clouds(1, 8, 6, 2, dtype, device)
    points[0, 0, 1], points[0, 2, 0] = float('nan'), INF
    points[0, 4] = torch.finfo(dtype).max  # overflows when squared
    query[0, 1, 0], query[0, 2, 1] = float('nan'), -INF
    indices, distances = knn(query, points, k)
    assert_same((indices, distances), slow(query, points, k))
    assert (indices[0, 1:3] == -1).all() and (distances[0, 1:3] == INF).all()
    assert set(indices[0, 3:].flatten().tolist()) == {1, 3, 5} | ({-1} if k == 9 else set())


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('b,q,n,c', [(2, 3, 0, 4), (2, 0, 5, 4), (0, 3, 5, 4), (1, 2, 5, 0),
                                     (0, 0, 0, 0), (1, 2, 3, 4)])
@pytest.mark.parametrize('k', [2, 7])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_empty_and_small(device, b, q, n, c, k, dtype):
    query, points = make_clouds(b, q, n, c, dtype, device)
    results = knn(query, points, k)
    assert results[0].shape == results[1].shape == (b, q, k)
    assert_same(results, slow(query, points, k))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_opcheck(device, dtype):
    query, points = make_clouds(2, 3, 20, 4, dtype, device)
    lengths = torch.tensor([3, 2], device=device)
    for k in (2, 6):
        torch.library.opcheck(torch.ops.mmkd.knn, (query, points, k, None, None))
        torch.library.opcheck(torch.ops.mmkd.knn, (query, points, k, lengths, lengths))


@pytest.mark.parametrize('device', DEVICES)
def test_repeatable_compiled_and_strides(device):
    query, points = make_clouds(2, 200, 1500, 16, device=device, levels=4)
    assert_repeatable(lambda: knn(query, points, 20))
    expected = knn(query, points, 20)
    compiled = torch.compile(lambda q, p: knn(q, p, 20), fullgraph=True, backend='aot_eager')
    assert_same(compiled(query, points), expected)
    spread = points.transpose(0, 1).contiguous().transpose(0, 1)
    assert not spread.is_contiguous()
    assert_same(knn(query.mT.contiguous().mT, spread, 20), expected)


def test_no_gradient():
    query, points = make_clouds(1, 3, 9, 4)
    indices, distances = knn(query.requires_grad_(), points.requires_grad_(), 2)
    assert not indices.requires_grad and not distances.requires_grad


def test_refuses():
    query, points = make_clouds(2, 3, 9, 4)
    for bad in (0, -3, 2.5, True):
        with pytest.raises(ValueError, match='k must be'):
            knn(query, points, bad)
    with pytest.raises(ValueError, match='points must have shape'):
        knn(query, points[..., :3], 2)
    with pytest.raises(ValueError, match='points must have shape'):
        knn(query, points[:1], 2)
    with pytest.raises(ValueError, match='points must have shape'):
        knn(query[0], points, 2)
    with pytest.raises(ValueError, match='different dtypes'):
        knn(query, points.half(), 2)
    with pytest.raises(ValueError, match='different devices'):
        knn(query, points.to('meta'), 2)
    with pytest.raises(ValueError, match='query must be float32'):
        knn(query.long(), points.long(), 2)
    with pytest.raises(ValueError, match='point_lengths must lie in'):
        knn(query, points, 2, point_lengths=torch.tensor([3, 10]))
    with pytest.raises(ValueError, match='query_lengths must have shape'):
        knn(query, points, 2, query_lengths=torch.tensor([3]))


def test_wild_lengths_reach_no_memory():
    query, points = make_clouds(2, 3, 9, 4)
    wild = torch.tensor([-5, 2 ** 40])
    indices, _ = torch.ops.mmkd.knn(query, points, 2, wild, wild)
    assert (indices[0] == -1).all() and torch.equal(indices[1], knn(query[1], points[1], 2)[0])


@pytest.mark.parametrize('device', DEVICES)
def test_recorded_neighbours_of_pointdistiller(device):
    case = recorded('pointdistiller_pillars_plain', device)
    features, expected = case['teacher_feature'], case['knn'][0]
    indices, _ = knn(features[case['query']], features, expected.shape[-1])
    # The order is not recorded; the points are.
    assert torch.equal(indices.sort(1).values, expected.sort(1).values)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
def test_three_nn(device, dtype):
    query, points = make_clouds(2, 50, 33, 3, dtype, device)
    distances, indices = three_nn(query, points)
    assert indices.dtype == torch.int32
    expected = slow(query, points, 3)
    assert torch.equal(indices.cpu().long(), expected[0])
    # A square root is rounded correctly on a GPU and by one unit otherwise by MKL.
    torch.testing.assert_close(distances.cpu(), expected[1].sqrt(), atol=0,
                               rtol=torch.finfo(distances.dtype).eps)
    distances, indices = three_nn(query, points[:, :2])
    assert (indices[..., 2] == -1).all() and (distances[..., 2] == INF).all()
    with pytest.raises(ValueError, match='query must have shape'):
        three_nn(query[..., :2], points)
