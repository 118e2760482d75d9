"""BEV pooling against its reference, over generated awkward input."""
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkd.ops.bev_index import bev_pool_index, bev_pool_index_reference
from mmkd.ops.bev_pooling import (
    bev_pool_backward_reference,
    bev_pool_ranks_reference,
    bev_pool_reference,
)

from ..common import DEVICES, FLOATS, FUZZ, on, same_bits

ODD = [0., -0., .5, -.5, .999, -1., 3., -1e-30, 1e30, -1e30, math.inf, -math.inf, math.nan]
SIZES = st.integers(0, 3)


def filled(shape, dtype, seed, odd):
    """Normal numbers, some of them replaced by ``odd`` ones."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator) * 3
    choice = torch.randint(0, 4 * len(ODD), tuple(shape), generator=generator)
    table = torch.tensor(ODD)[choice % len(ODD)]
    return torch.where((choice < len(ODD)) & odd, table, values).to(dtype)


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(shape=st.tuples(SIZES, SIZES, SIZES, SIZES, SIZES), dtype=st.sampled_from(FLOATS),
       cells=st.tuples(*[st.integers(1, 5)] * 3), size=st.tuples(*[st.floats(.01, 4)] * 3),
       low=st.tuples(*[st.floats(-4, 4)] * 3), truncate=st.booleans(),
       channels=st.sampled_from([0, 1, 7, 16, 19]), seed=st.integers(0, 999), odd=st.booleans())
def test_index_and_pooling(device, shape, dtype, cells, size, low, truncate, channels, seed, odd):
    geometry = filled((*shape, 3), dtype, seed, odd)
    bounds = *low, *(a + n * s for a, n, s in zip(low, cells, size, strict=True))
    index = on(device, bev_pool_index, geometry, size, bounds, 'trunc' if truncate else 'floor')
    expected = bev_pool_index_reference(geometry, list(size), list(low), list(cells), truncate,
                                        False)
    assert all(same_bits(a, b) for a, b in zip(index[:4], expected, strict=True))
    b, n, _, h, w = shape
    depth = filled(shape, dtype, seed + 1, odd)
    features = filled((b, n, h, w, channels), dtype, seed + 2, odd)
    arguments = depth, features, index.points, index.pixels, index.starts, index.cells
    out = on(device, torch.ops.mmkd.bev_pool, *arguments)
    torch.testing.assert_close(out, bev_pool_reference(*arguments), rtol=0, atol=0,
                               equal_nan=True)
    grad = filled(out.shape, dtype, seed + 3, odd)
    arguments = grad, depth, features, index.cells, None, None, None
    ours = on(device, torch.ops.mmkd.bev_pool_backward, *arguments)
    theirs = bev_pool_backward_reference(*arguments)
    torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=0, equal_nan=True)
    # lanes are summed in another order, which shows where large numbers cancel or overflow
    def tame(rows):
        return torch.cat([(rows.abs() < 1e3).all(-1), rows.new_ones(1, dtype=torch.bool)])

    row = torch.arange(b * n * h * w).view(b, n, 1, h, w).expand(shape)
    both = tame(grad)[index.cells.flatten().long()] & \
        tame(features.flatten(0, 3))[row.flatten()]
    half = dtype in (torch.float16, torch.bfloat16)
    torch.testing.assert_close(ours[0][both], theirs[0][both], rtol=1e-2 if half else 1e-5,
                               atol=1e-2 if half else 1e-4)


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(count=st.integers(0, 30), index=st.sampled_from([torch.int32, torch.int64]),
       channels=st.sampled_from([1, 3, 17]), seed=st.integers(0, 999))
def test_any_ranks_at_all(device, count, index, channels, seed):
    """Ranks, starts and cells of any value: the same as the reference, and never a crash."""
    generator = torch.Generator().manual_seed(seed)
    odd = torch.tensor([-2 ** 31, -1, 2 ** 31 - 1, 99])

    def ranks(high):
        values = torch.randint(0, high, (count,), generator=generator)
        bad = torch.rand(count, generator=generator) < .2
        other = odd[torch.randint(0, len(odd), (count,), generator=generator)]
        return torch.where(bad, other, values).to(index)

    depth = torch.randn(1, 1, 3, 2, 2, generator=generator)
    features = torch.randn(1, 1, 2, 2, channels, generator=generator)
    starts = torch.randint(0, count + 1, (6,), generator=generator).sort().values
    arguments = depth, features, ranks(12), ranks(4), starts.to(index), ranks(5)
    out = on(device, torch.ops.mmkd.bev_pool, *arguments)
    assert same_bits(out, bev_pool_reference(*arguments))

    weights = torch.randn(count, generator=generator)
    pixels = ranks(4)
    order, groups = torch.ops.mmkd.csr_index(pixels, 4)
    grad = torch.randn(5, channels, generator=generator)
    arguments = grad, weights, features, ranks(5), pixels, order, groups
    ours = on(device, torch.ops.mmkd.bev_pool_backward, *arguments)
    theirs = bev_pool_backward_reference(*arguments)
    assert same_bits(ours[1], theirs[1])
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(count=st.integers(0, 30), index=st.sampled_from([torch.int32, torch.int64]),
       wrong=st.integers(0, 5), seed=st.integers(0, 9999))
def test_ranks_and_intervals_that_are_right_or_not(device, count, index, wrong, seed):
    """``wrong`` of the numbers are replaced by any: the reference finds so whenever we do."""
    generator = torch.Generator().manual_seed(seed)

    def integers(high, size):
        return torch.randint(0, high, size, generator=generator)

    bev = integers(7, (count,)).sort().values
    _, lengths = bev.unique_consecutive(return_counts=True)
    ranks = [integers(12, (count,)), integers(4, (count,)), bev, lengths.cumsum(0) - lengths,
             lengths]
    odd = torch.tensor([-2 ** 31, -1, 0, 1, 2, 5, 12, 2 ** 31 - 1])
    for _ in range(wrong):
        values = ranks[int(integers(5, ()))]
        if len(values):
            values[int(integers(len(values), ()))] = odd[integers(len(odd), ())]
    depth, features = torch.randn(12, generator=generator), torch.randn(4, 3, generator=generator)
    arguments = [t.to(device) for t in (depth, features, *(r.to(index) for r in ranks))]
    out, starts, found = torch.ops.mmkd.bev_pool_ranks(*arguments, 7)
    expected = bev_pool_ranks_reference(*arguments, 7)
    assert bool(found) == bool(expected[2]) and (wrong or not found)
    if not found:
        assert same_bits(starts, expected[1]) and same_bits(out, expected[0])
