"""Awkward input for the fuzz tests."""
import math

import torch
from hypothesis import strategies as st

from mmkd.ops.grid import Grid

#: numbers that make trouble: not finite, past int32 and int64, on borders of cells
AWKWARD = [0., -0., 0.5, -0.5, 1., 2., 3., -3., math.nan, math.inf, -math.inf, 1e-38, 3e9, -3e9,
           1e19, -1e19, 3e38, -3e38]
FLOAT_TYPES = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16])


@st.composite
def rows(draw, n, c, dtype, finite=False):
    """(n, c) random numbers with some awkward ones among them."""
    seed = draw(st.integers(0, 2 ** 20))
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(n, c, generator=g, dtype=torch.float64) * draw(
        st.sampled_from([1., 3., 100.]))
    if not finite and n * c:
        pool = torch.tensor(AWKWARD, dtype=torch.float64)
        picked = pool[torch.randint(len(pool), (n, c), generator=g)]
        values = torch.where(torch.rand(n, c, generator=g) < draw(
            st.sampled_from([0., 0.1, 0.6])), picked, values)
    values = values.to(dtype)
    if draw(st.booleans()) and n and c:  # not contiguous
        wide = torch.zeros(n, 2 * c, dtype=dtype)
        wide[:, ::2] = values
        values = wide[:, ::2]
    return values


@st.composite
def grids(draw):
    """Small grids, single cells, and ones whose keys fill 62 bits."""
    cells = draw(st.sampled_from([(1, 1, 1), (4, 3, 2), (7, 1, 5), (64, 64, 8),
                                  (2 ** 30, 2 ** 30, 1), (2 ** 31 - 1, 1, 1)]))
    size = draw(st.sampled_from([(1., 1., 1.), (0.3, 0.7, 0.1), (2., 1e-3, 50.)]))
    low = draw(st.sampled_from([(0., 0., 0.), (-2., -1., -0.5), (1e3, -1e3, 0.1)]))
    return Grid(size, low, cells)


@st.composite
def segment_indices(draw, most=60):
    """(inverse, order, starts) of random ids, with empty segments and rows of none."""
    from mmkd.ops import csr_index
    n, segments = draw(st.integers(0, most)), draw(st.integers(0, 20))
    g = torch.Generator().manual_seed(draw(st.integers(0, 2 ** 20)))
    ids = torch.randint(-1, max(segments, 1), (n,), generator=g)
    ids[ids >= segments] = -1
    return ids, *csr_index(ids, segments)
