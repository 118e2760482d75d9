"""Voxel operators and their references agree on whatever comes."""
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkd.ops import devoxelize, reductions, segments, voxels

from ..common import FUZZ, everywhere, tensors_of
from .strategies import FLOAT_TYPES, grids, rows, segment_indices


def agree(op, reference, *args):
    """The operator gives on every device what the reference gives on the CPU; returns that."""
    expected = reference(*args)
    for result in everywhere(op, *args):
        for a, b in zip(tensors_of(result), tensors_of(expected), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    return expected


def lists(grid):
    return list(grid.voxel_size), list(grid.low), list(grid.cells)


@FUZZ
@given(st.data(), st.integers(0, 70), st.integers(3, 5), FLOAT_TYPES, grids(), st.integers(1, 3))
def test_keys_and_index(data, n, c, dtype, grid, batch_size):
    points = data.draw(rows(n, c, dtype))
    batch = torch.randint(-2, batch_size + 2, (n,)) if data.draw(st.booleans()) else None
    if batch_size * grid.per_sample() >= 2 ** 63:
        batch_size = 1
    args = (points, batch, batch_size, *lists(grid))
    keys = agree(voxels.voxel_keys, voxels.voxel_keys_reference, *args)
    assert keys.numel() == 0 or -1 <= keys.min() and keys.max() < batch_size * grid.per_sample()
    agree(segments._unique_index, segments.unique_index_reference, keys)
    coors = agree(voxels.voxel_coors, voxels.voxel_coors_reference, keys, list(grid.cells), True)
    back = ((coors[:, 0].long() * grid.cells[2] + coors[:, 1]) * grid.cells[1]
            + coors[:, 2]) * grid.cells[0] + coors[:, 3]
    assert torch.equal(torch.where(keys < 0, -1, back), keys)


@FUZZ
@given(st.lists(st.one_of(st.integers(-3, 9), st.integers(-2 ** 63, 2 ** 63 - 1)), max_size=50),
       st.integers(0, 12))
def test_indices_of_any_integers(values, count):
    ids = torch.tensor(values, dtype=torch.int64)
    agree(segments._csr_index, segments.csr_index_reference, ids, count)
    if ids.numel() == 0 or ids.max() < 2 ** 63 - 1:  # the largest number stands for no key
        agree(segments._unique_index, segments.unique_index_reference, ids)


@FUZZ
@given(st.data(), segment_indices(), st.integers(0, 9), FLOAT_TYPES)
def test_reductions(data, index, c, dtype):
    n, m = len(index[0]), len(index[2]) - 1
    features, values = data.draw(rows(n, c, dtype)), data.draw(rows(m, c, dtype))
    for mean in (False, True):
        agree(reductions.segment_sum, reductions.segment_sum_reference, features, *index, mean)
        agree(reductions.gather_segments, reductions.gather_segments_reference, values, *index,
              mean)
    _, arg = agree(reductions.segment_max, reductions.segment_max_reference, features, *index)
    agree(reductions.segment_max_backward, reductions.segment_max_backward_reference, values, arg,
          *index)


@FUZZ
@given(st.data(), st.integers(0, 40), st.integers(0, 40), FLOAT_TYPES, grids(), st.integers(1, 2),
       st.sampled_from([0., 0.5]))
def test_trilinear_corners(data, n, m, dtype, grid, batch_size, shift):
    if batch_size * grid.per_sample() >= 2 ** 63:
        batch_size = 1
    points = data.draw(rows(n, 3, dtype))
    near = torch.tensor(grid.low) + torch.rand(m, 3) * 4 * torch.tensor(grid.voxel_size)
    keys = voxels.voxel_keys(torch.cat([near.to(dtype), points]), None, 1, *lists(grid))
    unique = segments.unique_index(keys)[0]
    batch = torch.randint(-1, batch_size + 1, (n + m,))
    args = (torch.cat([points, near.to(dtype)]), batch, unique, batch_size, *lists(grid), shift)
    _, w = agree(devoxelize._trilinear_corners, devoxelize.trilinear_corners_reference, *args)
    assert (w >= 0).all() and (w.sum(1) <= 1 + 1e-5).all()
