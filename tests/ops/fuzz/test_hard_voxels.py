"""hard_voxelize over generated clouds and grids, against its reference."""
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkd.ops.grid import make_grid
from mmkd.ops.hard_voxels import hard_voxelize, hard_voxelize_reference

from ..common import DEVICES, FLOATS, FUZZ, on, same_bits

AWKWARD = torch.tensor([0., -0., 1., -1., .5, 2., -2., 1.9999999, 1e9, -1e30, 3e38, 1e-40,
                        float('inf'), -float('inf'), float('nan'), 2 ** 31., 2. ** 63])


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(n=st.integers(0, 60), channels=st.integers(3, 6), dtype=st.sampled_from(FLOATS),
       size=st.tuples(*[st.sampled_from([.1, .25, .3, 1., 1e-8, 7.])] * 3),
       low=st.sampled_from([-2., 0., -1e6, .1]), extent=st.sampled_from([.2, 1., 4., 1e7]),
       max_points=st.integers(1, 5), max_voxels=st.sampled_from([None, -1, 0, 1, 4, 10 ** 15]),
       awkward=st.booleans(), seed=st.integers(0, 2 ** 16))
def test_against_reference(device, n, channels, dtype, size, low, extent, max_points, max_voxels,
                           awkward, seed):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, channels, generator=generator)
    if awkward:
        points = AWKWARD[torch.randint(0, len(AWKWARD), points.shape, generator=generator)]
    points = points.to(dtype)
    bounds = (low, low, low, low + extent, low + extent, low + extent)
    try:
        grid = make_grid('fuzz', size, bounds)
    except ValueError:
        with pytest.raises(ValueError, match='hard_voxelize'):
            hard_voxelize(points, size, bounds, max_points, max_voxels)
        return
    expected = hard_voxelize_reference(
        points, list(grid.voxel_size), list(grid.low), list(grid.cells), max_points,
        -1 if max_voxels is None else max_voxels)
    got = on(device, hard_voxelize, points, size, bounds, max_points, max_voxels)
    for a, b in zip(got, expected[:3], strict=True):
        assert same_bits(a, b)
