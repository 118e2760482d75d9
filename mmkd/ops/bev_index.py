"""The index of BEV pooling: which image points fall into which cell of the BEV grid."""
import math
from typing import NamedTuple

import torch
from torch import Tensor

from .checks import check_choice, check_tensor
from .grid import INT32_MAX, find_cells, linear_cells, make_grid
from .segments import csr_index_reference


class BEVPoolIndex(NamedTuple):
    """Which image points fall into which BEV cell; P = B * N * D * H * W points.

    int32, or int64 where there are more points or cells than int32 can number. The shapes do
    not depend on the values, so that building it never waits for a GPU.

    Attributes:
        cells: (B, N, D, H, W) linear cell of each point, ((b * Z + z) * Y + y) * X + x; -1
            outside.
        points: (P,) flat index of the points sorted by cell and, within one, by index; filled
            up with -1.
        pixels: (P,) flat index (b, n, h, w) of the feature of each of ``points``; -1 likewise.
        starts: (B * Z * Y * X + 1,): the points of cell ``s`` are
            ``points[starts[s]:starts[s + 1]]``.
        bev_shape: (B, Z, Y, X).

    The properties are the arguments of :func:`bev_pool_v2`: their lengths depend on the
    values.
    """
    cells: Tensor
    points: Tensor
    pixels: Tensor
    starts: Tensor
    bev_shape: tuple[int, int, int, int]

    @property
    def ranks_depth(self):
        """(K,) flat index (b, n, d, h, w) of the K points inside, sorted by cell."""
        return self.points[:int(self.starts[-1])]

    @property
    def ranks_feat(self):
        """(K,) flat index (b, n, h, w) of their features."""
        return self.pixels[:int(self.starts[-1])]

    @property
    def ranks_bev(self):
        """(K,) their cells, ascending."""
        return self.cells.flatten()[self.ranks_depth]

    @property
    def interval_starts(self):
        """(M,) first of the points of each occupied cell."""
        return self.starts[:-1][self.starts.diff() > 0]

    @property
    def interval_lengths(self):
        """(M,) number of points of each occupied cell."""
        counts = self.starts.diff()
        return counts[counts > 0]


def bev_pool_index_reference(geometry: Tensor, voxel_size: list[float], low: list[float],
                             cells: list[int], truncate: bool,
                             wide: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """cells, points, pixels and starts of a :class:`BEVPoolIndex`."""
    b, n, d, h, w, _ = geometry.shape
    cell, inside = find_cells(geometry, voxel_size, low, cells, truncate)
    sample = torch.arange(b, device=geometry.device).view(b, 1, 1, 1, 1)
    keys = torch.where(inside, linear_cells(cell, sample, cells), -1)
    order, starts = csr_index_reference(keys.flatten(), b * math.prod(cells))
    used = torch.arange(len(order), device=geometry.device) < starts[-1]
    plane = max(h * w, 1)
    pixels = order.div(max(d, 1) * plane, rounding_mode='floor') * plane + order % plane
    dtype = torch.int64 if wide else torch.int32
    return keys.to(dtype), torch.where(used, order, -1).to(dtype), \
        torch.where(used, pixels, -1).to(dtype), starts.to(dtype)


_bev_pool_index = torch.library.custom_op('mmkd::bev_pool_index', bev_pool_index_reference,
                                          mutates_args=())


@_bev_pool_index.register_fake
def _(geometry, voxel_size, low, cells, truncate, wide):
    dtype = torch.int64 if wide else torch.int32
    points = geometry.new_empty(geometry.shape[:-1], dtype=dtype)
    starts = geometry.new_empty(geometry.shape[0] * math.prod(cells) + 1, dtype=dtype)
    return points, points.new_empty(points.numel()), points.new_empty(points.numel()), starts


def bev_pool_index(geometry, voxel_size, point_cloud_range, rounding='trunc'):
    """Find the BEV cell of every image point, once for a forward and a backward.

    The arithmetic is BEVDet's, in float32 (float64 for a float64 geometry). BEVDet truncates
    (p - low) / size towards zero: a point up to one cell below the lower bound lands in cell
    0. That is the default, because published numbers were produced with it;
    ``rounding='floor'`` drops these points. A point with a NaN or an infinite coordinate lies
    in no cell.

    Args:
        geometry: (B, N, D, H, W, 3) floating, ego x, y, z in metres of each image point: B
            samples, N cameras, D depth bins, H x W feature pixels.
        voxel_size: (x, y, z) of a cell, metres.
        point_cloud_range: (x_min, y_min, z_min, x_max, y_max, z_max), metres; rounded to
            the nearest number of cells, as for :func:`voxel_index`.
        rounding: 'trunc' or 'floor'.

    Returns:
        BEVPoolIndex: to be given to :func:`bev_pool`. It holds while the geometry does: with
        fixed cameras and no augmentation it may be kept.

    Raises:
        ValueError: another shape, sizes that are not positive, an empty range, more cells than
            int64 can number.
    """
    op = 'bev_pool_index'
    check_tensor(op, 'geometry', geometry, ('B', 'N', 'D', 'H', 'W', 3))
    check_choice(op, 'rounding', rounding, ('trunc', 'floor'))
    shape = geometry.shape[:-1]
    grid = make_grid(op, voxel_size, point_cloud_range, shape[0])
    total = shape[0] * grid.per_sample()
    wide = bool(max(total, math.prod(shape)) > INT32_MAX)
    found = _bev_pool_index(geometry.detach(), list(grid.voxel_size), list(grid.low),
                            list(grid.cells), rounding == 'trunc', wide)
    return BEVPoolIndex(*found, (shape[0], *reversed(grid.cells)))
