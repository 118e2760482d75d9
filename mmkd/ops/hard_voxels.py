"""Hard voxelisation: the first points of the first voxels, padded with zeros."""
import torch
from torch import Tensor

from .checks import check_integer, check_points
from .grid import INT32_MAX, make_grid
from .segments import unique_index_reference
from .voxels import dynamic_voxelize, voxel_coors_reference, voxel_keys_reference


def hard_voxelize_reference(points: Tensor, voxel_size: list[float], low: list[float],
                            cells: list[int], max_points: int,
                            max_voxels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`hard_voxelize`; also each point's place, voxel * max_points + slot, or -1."""
    n, channels = points.shape
    keys = voxel_keys_reference(points, None, 1, voxel_size, low, cells)
    unique, segment, order, starts = unique_index_reference(keys)
    first = order[starts[:-1]]
    by_first = first.argsort()
    if max_voxels >= 0:
        by_first = by_first[:max_voxels]
    m = len(by_first)
    voxel = torch.full_like(first, -1)
    voxel[by_first] = torch.arange(m, device=keys.device)
    sorted_voxel = torch.cat([voxel, voxel.new_full((1,), -1)])[segment[order]]
    slot = torch.arange(n, device=keys.device) - starts[segment[order]]
    kept = (sorted_voxel >= 0) & (slot < max_points)
    place = torch.full_like(keys, -1)
    place[order] = torch.where(kept, sorted_voxel * max_points + slot, -1)
    voxels = points.new_zeros(m * max_points, channels)
    inside = place >= 0
    voxels[place[inside]] = points[inside]
    coors = voxel_coors_reference(unique[by_first], cells, False)
    num_points = starts.diff()[by_first].clamp(max=max_points).int()
    return voxels.view(m, max_points, channels), coors, num_points, place


_hard_voxelize = torch.library.custom_op('mmkd::hard_voxelize', hard_voxelize_reference,
                                         mutates_args=())


@_hard_voxelize.register_fake
def _(points, voxel_size, low, cells, max_points, max_voxels):
    n, channels = points.shape
    m = torch.library.get_ctx().new_dynamic_size()
    return points.new_empty(m, max_points, channels), \
        points.new_empty(m, 3, dtype=torch.int32), points.new_empty(m, dtype=torch.int32), \
        points.new_empty(n, dtype=torch.int64)


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(output[3])
    ctx.max_points = inputs[4]


def _backward(ctx, grad, *_):
    place, = ctx.saved_tensors
    # A dropped point has place -1: the last slot of the voxel of zeros behind all others.
    grad = torch.cat([grad, grad.new_zeros(1, *grad.shape[1:])])
    return grad[place // ctx.max_points, place % ctx.max_points], None, None, None, None, None


_hard_voxelize.register_autograd(_backward, setup_context=_setup_context)


def hard_voxelize(points, voxel_size, point_cloud_range, max_points, max_voxels=None):
    """Points of one cloud, grouped by voxel: what ``mmcv.ops.Voxelization`` with
    ``deterministic=True`` returns on a CPU, bit for bit, on every device.

    Points are taken in order. The first one of a voxel opens it, as long as there are fewer
    than ``max_voxels``; the voxel then takes points until it holds ``max_points``, also after
    the last voxel has been opened. Cells are those of :func:`voxel_index`. The gradient of a
    point is that of its slot, zero for a dropped point.

    Args:
        points: (N, C >= 3) floating, x, y, z in metres first.
        voxel_size: (x, y, z) in metres.
        point_cloud_range: (x_min, y_min, z_min, x_max, y_max, z_max) in metres.
        max_points: P, the slots of each voxel.
        max_voxels: the most voxels to keep; None or -1: all.

    Returns:
        tuple: ``voxels`` (M, P, C) of the points' dtype, zero in empty slots; ``coors`` (M, 3)
        int32 (z, y, x); ``num_points`` (M,) int32, filled slots. Voxels are in the order of
        their first points.

    Raises:
        ValueError: fewer than 3 channels, an integer cloud, a voxel size or range that
            :func:`voxel_index` refuses, ``max_points`` below 1 or ``max_voxels`` below 0
            (and not -1).
    """
    op = 'hard_voxelize'
    check_points(op, points)
    check_integer(op, 'max_points', max_points, 1, INT32_MAX)
    if max_voxels is None:
        max_voxels = -1
    elif max_voxels != -1:
        check_integer(op, 'max_voxels', max_voxels, 0)
    grid = make_grid(op, voxel_size, point_cloud_range)
    return _hard_voxelize(points, list(grid.voxel_size), list(grid.low), list(grid.cells),
                          max_points, max_voxels)[:3]


class HardVoxelization(torch.nn.Module):
    """Stands in for ``mmcv.ops.Voxelization``: the same arguments, attributes and results.

    Args:
        voxel_size, point_cloud_range: as for :func:`hard_voxelize`.
        max_num_points: slots of each voxel; -1: dynamic voxelisation.
        max_voxels: the most voxels, or a pair: in training and in evaluation; -1: dynamic
            voxelisation.
        deterministic: accepted and ignored: the result always is.
    """

    def __init__(self, voxel_size, point_cloud_range, max_num_points, max_voxels=20000,
                 deterministic=True):
        super().__init__()
        op = type(self).__name__
        pair = tuple(max_voxels) if isinstance(max_voxels, (tuple, list)) else (max_voxels,) * 2
        if len(pair) != 2:
            raise ValueError(f'{op}: max_voxels must be a number or a pair (training, '
                             f'evaluation), not {max_voxels!r}')
        for name, value in (('max_num_points', max_num_points), ('max_voxels', pair[0]),
                            ('max_voxels', pair[1])):
            if value != -1:
                check_integer(op, name, value)
        self.voxel_size = voxel_size
        self.point_cloud_range = point_cloud_range
        self.max_num_points = max_num_points
        self.max_voxels = pair
        self.deterministic = deterministic
        cells = make_grid(op, voxel_size, point_cloud_range).cells
        self.grid_size = torch.tensor(cells)
        self.pcd_shape = [1, cells[1], cells[0]]

    def forward(self, points):
        """(N, C) points -> the triple of :func:`hard_voxelize`; (N, 3) int32 coordinates
        (z, y, x) of the points where voxelisation is dynamic."""
        max_voxels = self.max_voxels[0 if self.training else 1]
        if -1 in (self.max_num_points, max_voxels):
            return dynamic_voxelize(points, self.voxel_size, self.point_cloud_range)
        return hard_voxelize(points, self.voxel_size, self.point_cloud_range,
                             self.max_num_points, max_voxels)

    def extra_repr(self):
        return (f'voxel_size={self.voxel_size}, point_cloud_range={self.point_cloud_range}, '
                f'max_num_points={self.max_num_points}, max_voxels={self.max_voxels}')
