"""mmcv's DynamicScatter: reduce points that share integer voxel coordinates."""
import torch
from torch import nn

from .checks import (
    INDEX,
    check_choice,
    check_ranges,
    check_same_device,
    check_tensor,
    values_are_checked,
)
from .grid import INT64_MAX
from .reductions import segment_max, segment_sum
from .segments import unique_index


def index_of_coors(op, coors):
    """:func:`unique_index` of integer rows, and the (M, D) distinct rows in ascending order.

    A row with a negative entry belongs to none; so do all where the coordinates are more cells
    than an int64 can number, which is refused where values are checked.
    """
    wide = rows = coors.long()
    if torch.compiler.is_compiling() or not len(wide):
        # One row more, so that there is a largest coordinate where there may be no row.
        rows = torch.cat([wide, wide.new_zeros(1, wide.shape[1])])
    sizes = rows.amax(0).clamp(0, INT64_MAX - 1) + 1
    # In float64, which a product of int64 does not overflow; 1024 is its last digit there.
    numbered = sizes.double().prod() < INT64_MAX - 1024
    if values_are_checked():
        *found, right = check_ranges(op, also=[*sizes.unbind(), numbered.long()])
        if not right:
            raise ValueError(f'{op}: coordinates up to {[s - 1 for s in found]} are more cells '
                             'than an int64 can number')
    keys = wide[:, 0]
    for column, size in zip(wide.unbind(1)[1:], sizes[1:].unbind(), strict=True):
        keys = keys * size + column
    unique, *parts = unique_index(torch.where((wide < 0).any(1) | ~numbered, -1, keys))
    columns = []
    for size in reversed(sizes.unbind()):
        columns.append(unique % size)
        unique = unique.div(size, rounding_mode='floor')
    return torch.stack(columns[::-1], 1).to(coors.dtype), parts


def reduce_by_coors(features, coors, reduce):
    """What :func:`dynamic_scatter` returns, and the (N,) voxel of each point, -1 for none."""
    check_choice('dynamic_scatter', 'reduce', reduce, ('sum', 'mean', 'max'))
    check_tensor('dynamic_scatter', 'features', features, ('N', 'C'))
    check_tensor('dynamic_scatter', 'coors', coors, (features.shape[0], 'D'), INDEX)
    if coors.shape[1] == 0:
        raise ValueError('dynamic_scatter: coors have no columns')
    check_same_device('dynamic_scatter', features=features, coors=coors)
    voxel_coors, parts = index_of_coors('dynamic_scatter', coors)
    if reduce == 'max':
        return segment_max(features, *parts)[0], voxel_coors, parts[0]
    return segment_sum(features, *parts, reduce == 'mean'), voxel_coors, parts[0]


def dynamic_scatter(features, coors, reduce='max'):
    """Reduce points that share voxel coordinates; stands in for ``mmcv.ops.dynamic_scatter``.

    Works on the CPU too, gives the same bits every time, takes a NaN, and batched coordinates
    in one go, samples without points included.

    Args:
        features: (N, C) floating.
        coors: (N, D) integer voxel of each point, e.g. (z, y, x) or (b, z, y, x). A row with a
            negative entry is left out.
        reduce: 'sum', 'mean' or 'max'.

    Returns:
        tuple: (M, C) features, and (M, D) coordinates in ascending order.
    """
    return reduce_by_coors(features, coors, reduce)[:2]


class DynamicScatter(nn.Module):
    """Stands in for ``mmcv.ops.DynamicScatter``, on the CPU too; see :func:`dynamic_scatter`.

    Args:
        voxel_size, point_cloud_range: kept for those who read them.
        average_points: mean instead of max.
    """

    def __init__(self, voxel_size, point_cloud_range, average_points):
        super().__init__()
        self.voxel_size = voxel_size
        self.point_cloud_range = point_cloud_range
        self.average_points = average_points

    def forward(self, points, coors):
        """(N, C) points, (N, 3 or 4) coors -> (M, C) features, (M, 3 or 4) coordinates."""
        return dynamic_scatter(points, coors, 'mean' if self.average_points else 'max')

    def extra_repr(self):
        return (f'voxel_size={self.voxel_size}, point_cloud_range={self.point_cloud_range}, '
                f'average_points={self.average_points}')
