"""The voxel grid: where a cell is, in the float32 arithmetic of mmcv."""
import math
from typing import NamedTuple

import torch

from .checks import INT32_MAX, INT64_MAX, accumulated, check_floats, exceeds


class Grid(NamedTuple):
    """A regular grid of voxels.

    Attributes:
        voxel_size: (x, y, z) in metres.
        low: (x, y, z) of the corner of cell (0, 0, 0), in metres.
        cells: number of cells along x, y, z.
    """
    voxel_size: tuple[float, float, float]
    low: tuple[float, float, float]
    cells: tuple[int, int, int]

    def per_sample(self):
        """Cells of one sample."""
        return self.cells[0] * self.cells[1] * self.cells[2]


def float32(value):
    """``value`` rounded to float32, in Python: traced as a constant, and no tensor to wait for."""
    _, exponent = math.frexp(value)
    digit = max(exponent - 24, -149)  # the last one, of a subnormal number too
    rounded = math.ldexp(round(math.ldexp(value, -digit)), digit)
    return rounded if abs(rounded) < 2. ** 128 else math.copysign(math.inf, value)


def make_grid(op, voxel_size, point_cloud_range, batch_size=1):
    """The grid of a voxel size and a range (x_min, y_min, z_min, x_max, y_max, z_max), metres.

    A range that is not a multiple of the voxel size is rounded to the nearest number of
    cells, half away from zero, in float32: what mmcv does.

    Raises:
        ValueError: sizes that are not positive, an empty range, or more cells than int32
            (per axis) or int64 (in all) can number.
    """
    size = check_floats(op, 'voxel_size', voxel_size, 3)
    bounds = check_floats(op, 'point_cloud_range', point_cloud_range, 6)
    low, high = bounds[:3], bounds[3:]
    if min(size) <= 0:
        raise ValueError(f'{op}: voxel_size must be positive, not {size}')
    if min(size) < 1e-37 or max(*size, *map(abs, bounds)) > 1e38:
        raise ValueError(f'{op}: voxel_size {size} or point_cloud_range {bounds} is beyond '
                         'float32')
    cells = []
    for name, s, a, b in zip('xyz', size, low, high, strict=True):
        if not b > a:
            raise ValueError(f'{op}: point_cloud_range must be (x_min, y_min, z_min, x_max, '
                             f'y_max, z_max) with each minimum below its maximum, but along '
                             f'{name} it goes from {a} to {b}')
        count = math.floor(float32(float32(float32(b) - float32(a)) / float32(s)) + 0.5)
        if not 1 <= count <= INT32_MAX:
            raise ValueError(f'{op}: the range holds {count} voxels along {name}; it must hold '
                             f'at least 1 and at most {INT32_MAX}')
        cells.append(count)
    grid = Grid(size, low, tuple(cells))
    if exceeds(batch_size, INT64_MAX // grid.per_sample()):
        raise ValueError(f'{op}: {batch_size} x {cells} voxels are more than an int64 can '
                         'number; use larger voxels or a smaller range')
    return grid


def grid_coordinates(xyz, voxel_size, low):
    """(..., 3) x, y, z in cells from the grid's corner; float32 (float64 for float64)."""
    xyz = accumulated(xyz)
    size, start = (torch.tensor(v, dtype=torch.float32, device=xyz.device).to(xyz.dtype)
                   for v in (voxel_size, low))
    return (xyz - start) / size


def find_cells(xyz, voxel_size, low, cells, truncate=False):
    """(..., 3) int64 cell x, y, z of each point, and (...) whether it is inside; 0 if not."""
    cell = grid_coordinates(xyz, voxel_size, low)
    cell = cell.trunc() if truncate else cell.floor()
    count = torch.tensor(cells, device=xyz.device)
    inside = ((cell >= 0) & (cell < count.to(torch.float32).to(cell.dtype))).all(-1)
    cell = torch.where(inside[..., None], cell, 0).long()
    return cell, inside & (cell < count).all(-1)


def linear_cells(cell, sample, cells):
    """((sample * Z + z) * Y + y) * X + x of (..., 3) cells x, y, z."""
    x, y, z = cell.unbind(-1)
    return ((sample * cells[2] + z) * cells[1] + y) * cells[0] + x
