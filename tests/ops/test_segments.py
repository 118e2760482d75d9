"""unique_index and csr_index against torch.unique, argsort and their references."""
import pytest
import torch

from mmkd.ops import csr_index, unique_index
from mmkd.ops.segments import (
    _csr_index,
    _unique_index,
    csr_index_reference,
    unique_index_reference,
)

from .common import DEVICES, assert_repeatable, on, threads


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('n', [0, 1, 2, 700, 70_000])
@pytest.mark.parametrize('low, high', [(0, 40), (-3, 10 ** 6), (-5, 0), (10 ** 12, 2 ** 62)])
def test_unique_index(n, low, high, device):
    keys = torch.randint(low, high, (n,))
    unique, inverse, order, starts = on(device, unique_index, keys)
    inside = (keys >= 0).nonzero()[:, 0]
    expected, where, counts = keys[inside].unique(return_inverse=True, return_counts=True)
    assert torch.equal(unique, expected) and torch.equal(inverse[inside], where)
    assert torch.equal(starts.diff(), counts) and starts[0] == 0
    assert (inverse[keys < 0] == -1).all()
    k = len(inside)
    assert torch.equal(order[:k], inside[keys[inside].argsort(stable=True)])
    assert torch.equal(order[k:], (keys < 0).nonzero()[:, 0])
    for a, b in zip((unique, inverse, order, starts), unique_index_reference(keys), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.int32, torch.int64])
@pytest.mark.parametrize('n, segments', [(0, 0), (0, 3), (5, 0), (300, 1), (500, 40), (9, 4000),
                                         (70_000, 16_384)])
def test_csr_index(n, segments, dtype, device):
    ids = torch.randint(-2, segments + 2, (n,)).to(dtype)
    order, starts = on(device, csr_index, ids, segments)
    assert sorted(order.tolist()) == list(range(n))
    for s in range(min(segments, 50)):
        assert order[starts[s]:starts[s + 1]].tolist() == (ids == s).nonzero()[:, 0].tolist()
    outside = ((ids < 0) | (ids >= segments)).nonzero()[:, 0]
    assert torch.equal(order[starts[-1]:], outside)
    for a, b in zip((order, starts), csr_index_reference(ids, segments), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('uneven', [
    lambda n: torch.full((n,), 7), lambda n: torch.arange(n).flip(0),
    lambda n: torch.randint(-9, 300, (n,)).where(torch.arange(n) != n // 2, 2 ** 61),
    lambda n: torch.randint(0, 2, (n,)) * 2 ** 40 + torch.randint(-5, 2000, (n,))])
def test_keys_that_are_spread_unevenly(uneven, device):
    """All in one of the sort's buckets, one far from all others, two far clusters."""
    keys = uneven(70_000)
    expected = unique_index_reference(keys)
    for count in (1, 3):
        with threads(count):
            for a, b in zip(on(device, unique_index, keys), expected, strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize('device', DEVICES)
def test_the_ends_of_int64(device):
    most = torch.iinfo(torch.int64).max
    keys = torch.tensor([most, most - 1, -most - 1, 0, most, -1, most - 1], device=device)
    unique, inverse, order, starts = unique_index(keys)
    assert unique.tolist() == [0, most - 1] and starts.tolist() == [0, 1, 3]
    assert inverse.tolist() == [-1, 1, -1, 0, -1, -1, 1]
    assert order.tolist() == [3, 1, 6, 0, 2, 4, 5]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('limit', [0, 1, 40, 2 ** 31 - 2, 2 ** 31 - 1, 2 ** 31, 2 ** 63 - 1])
def test_keys_below_a_limit(limit, device):
    """What is not below the limit has no key; a limit that int32 holds sorts int32."""
    keys = torch.cat([torch.randint(-3, 60, (400,)),
                      torch.tensor([2 ** 31 - 2, 2 ** 31 - 1, 2 ** 31, 2 ** 62, -2 ** 63])])
    keys = keys[torch.randperm(len(keys))].to(device)
    found = _unique_index(keys, limit)
    assert torch.equal(found[0], keys[(keys >= 0) & (keys < limit)].unique())
    for a, b in zip(found, unique_index_reference(keys, limit), strict=True):
        assert torch.equal(a, b)
    segments = min(limit, 41)
    for a, b in zip(csr_index(keys, segments), csr_index_reference(keys, segments), strict=True):
        assert torch.equal(a, b)


def test_same_bits_for_any_number_of_threads():
    keys = torch.randint(-5, 10 ** 9, (200_000,))
    assert_repeatable(lambda: (*unique_index(keys), *csr_index(keys % 999, 500)))


@pytest.mark.parametrize('call, message', [
    (lambda: unique_index(torch.zeros(3)), 'int64'),
    (lambda: unique_index(torch.zeros(3, 1, dtype=torch.long)), r'shape \(N\)'),
    (lambda: csr_index(torch.zeros(3), 2), 'int32, int64'),
    (lambda: csr_index(torch.zeros(3, dtype=torch.long), -1), 'at least 0'),
    (lambda: csr_index(torch.zeros(3, dtype=torch.long), 2.), 'integer'),
])
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize('device', DEVICES)
def test_operators_are_well_formed(device):
    keys = torch.randint(-1, 5, (30,), device=device)
    torch.library.opcheck(_unique_index, (keys,))
    torch.library.opcheck(_csr_index, (keys, 4))
