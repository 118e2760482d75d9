"""Dynamic voxelisation: which voxel each point is in, found once and reused."""
from typing import NamedTuple

import torch
from torch import Tensor

from .batches import join_samples
from .checks import check_points
from .grid import Grid, find_cells, linear_cells, make_grid
from .segments import _unique_index


class VoxelIndex(NamedTuple):
    """The occupied voxels of a batch of point clouds; N points, M voxels. All int64.

    Attributes:
        keys: (N,) linear cell of each point, ((b * Z + z) * Y + y) * X + x; -1 outside.
        unique: (M,) cells that hold a point, ascending: by b, then z, then y, then x.
        inverse: (N,) voxel of each point, -1 outside.
        order: (N,) points sorted by voxel and, within one, by index; outside points last.
        starts: (M + 1,) the points of voxel ``m`` are ``order[starts[m]:starts[m + 1]]``.
        grid: sizes and bounds of the cells.
        batch_size: number of samples, empty ones too.
    """
    keys: Tensor
    unique: Tensor
    inverse: Tensor
    order: Tensor
    starts: Tensor
    grid: Grid
    batch_size: int

    @property
    def coors(self):
        """(M, 4) int32 (b, z, y, x) of each voxel: the coordinates mmdet3d's encoders take."""
        return voxel_coors(self.unique, list(self.grid.cells), True)

    @property
    def point_coors(self):
        """(N, 4) int32 (b, z, y, x) of each point, four times -1 outside."""
        return voxel_coors(self.keys, list(self.grid.cells), True)

    @property
    def counts(self):
        """(M,) points in each voxel."""
        return self.starts.diff()


def voxel_keys_reference(points: Tensor, batch_index: Tensor | None, batch_size: int,
                         voxel_size: list[float], low: list[float],
                         cells: list[int]) -> Tensor:
    """Linear cell of each point, -1 outside; float32 arithmetic (float64 for float64)."""
    cell, inside = find_cells(points[:, :3], voxel_size, low, cells)
    batch = torch.zeros_like(cell[:, 0]) if batch_index is None else batch_index
    inside &= (batch >= 0) & (batch < batch_size)
    keys = linear_cells(cell, batch, cells)
    return torch.where(inside, keys, -1)


voxel_keys = torch.library.custom_op('mmkd::voxel_keys', voxel_keys_reference,
                                      mutates_args=())


@voxel_keys.register_fake
def _(points, batch_index, batch_size, voxel_size, low, cells):
    return points.new_empty(points.shape[0], dtype=torch.int64)


def voxel_coors_reference(keys: Tensor, cells: list[int], with_sample: bool) -> Tensor:
    """(b, z, y, x), or (z, y, x), of linear keys, int32; -1 everywhere of a negative key."""
    x, y, z = cells
    rows = keys.div(x, rounding_mode='floor')
    planes = rows.div(y, rounding_mode='floor')
    coors = [planes % z, rows % y, keys % x]
    if with_sample:
        coors.insert(0, planes.div(z, rounding_mode='floor'))
    coors = torch.stack(coors, 1)
    return torch.where(keys[:, None] < 0, -1, coors).int()


voxel_coors = torch.library.custom_op('mmkd::voxel_coors', voxel_coors_reference,
                                       mutates_args=())


@voxel_coors.register_fake
def _(keys, cells, with_sample):
    return keys.new_empty(keys.shape[0], 4 if with_sample else 3, dtype=torch.int32)


def voxel_index(points, voxel_size, point_cloud_range, batch_index=None, batch_size=None):
    """Put points into voxels and find the occupied ones.

    A point lies in cell floor((p - minimum) / voxel_size), computed in float32 (in float64
    for float64 points) as mmcv's dynamic voxelisation does, bit for bit; outside the grid, or
    with a NaN or an infinite coordinate, it lies in none. A range that is not a multiple of
    the voxel size is rounded to the nearest number of cells, as in mmcv.

    Args:
        points: (N, C >= 3) floating, x, y, z in metres first; or a list with one such cloud
            per sample, any of them empty.
        voxel_size: (x, y, z) in metres.
        point_cloud_range: (x_min, y_min, z_min, x_max, y_max, z_max) in metres.
        batch_index: (N,) sample of each point; points need not be sorted by it.
        batch_size: number of samples. By default one more than the largest index: pass it
            where the last samples may be empty, and to read nothing (see check_values).

    Returns:
        VoxelIndex: to be given to :func:`scatter_points`, :func:`gather_voxels`,
        :func:`devoxelize_trilinear` and :func:`supervoxel_index`.

    Raises:
        ValueError: fewer than 3 channels, an integer cloud, sizes that are not positive, an
            empty range, a batch index outside the batch, more cells than int64 can number.
    """
    points, batch_index, batch_size = join_samples('voxel_index', 'points', points, ('N', 'C'),
                                                   batch_index, batch_size)
    check_points('voxel_index', points)
    grid = make_grid('voxel_index', voxel_size, point_cloud_range, batch_size)
    keys = voxel_keys(points.detach(), batch_index, batch_size, list(grid.voxel_size),
                       list(grid.low), list(grid.cells))
    # Told the largest key, a GPU sorts half as many digits where int32 holds it.
    return VoxelIndex(keys, *_unique_index(keys, batch_size * grid.per_sample()), grid,
                      batch_size)


def dynamic_voxelize(points, voxel_size, point_cloud_range):
    """Voxel coordinates of each point of one cloud, as ``mmcv.ops.Voxelization`` with
    ``max_num_points=-1`` gives them.

    Args:
        points, voxel_size, point_cloud_range: as for :func:`voxel_index`.

    Returns:
        Tensor: (N, 3) int32 (z, y, x), three times -1 outside.
    """
    check_points('dynamic_voxelize', points)
    grid = make_grid('dynamic_voxelize', voxel_size, point_cloud_range)
    keys = voxel_keys(points.detach(), None, 1, list(grid.voxel_size), list(grid.low),
                       list(grid.cells))
    return voxel_coors(keys, list(grid.cells), False)
