"""Point to voxel and back: sum, mean and max over the points of each voxel."""
import torch
from torch import Tensor, nn

from .checks import (
    INDEX,
    check_choice,
    check_indices,
    check_integer,
    check_same_device,
    check_tensor,
    sizes_differ,
)
from .segments import csr_index, unique_index
from .voxels import VoxelIndex


def accumulated(rows):
    """Rows in the type that sums are kept in: float32 for the half types."""
    return rows if rows.dtype == torch.float64 else rows.float()


def segment_sum_reference(rows: Tensor, inverse: Tensor, order: Tensor, starts: Tensor,
                          mean: bool) -> Tensor:
    """(R, C) rows -> (M, C) sums or means; segment m has rows order[starts[m]:starts[m+1]]."""
    count = starts.shape[0] - 1
    wide = accumulated(rows)
    inside = order[:starts[-1]]
    sums = wide.new_zeros(count, rows.shape[1]).index_add_(0, inverse[inside], wide[inside])
    if mean:
        sums = sums / starts.diff().clamp(min=1)[:, None]
    return sums.to(rows.dtype)


def gather_segments_reference(values: Tensor, inverse: Tensor, order: Tensor, starts: Tensor,
                              mean: bool) -> Tensor:
    """(M, C) values -> (R, C): each row gets its segment's, 0 where it has none."""
    wide = accumulated(values)
    if mean:
        wide = wide / starts.diff().clamp(min=1)[:, None]
    wide = torch.cat([wide, wide.new_zeros(1, values.shape[1])])  # what -1 points to
    return wide[inverse].to(values.dtype)


_segment_sum = torch.library.custom_op('mmkd::segment_sum', segment_sum_reference,
                                       mutates_args=())
_gather_segments = torch.library.custom_op('mmkd::gather_segments', gather_segments_reference,
                                           mutates_args=())


@_segment_sum.register_fake
def _(rows, inverse, order, starts, mean):
    return rows.new_empty(starts.shape[0] - 1, rows.shape[1])


@_gather_segments.register_fake
def _(values, inverse, order, starts, mean):
    return values.new_empty(inverse.shape[0], values.shape[1])


def _keep_index(ctx, inputs, output):
    ctx.save_for_backward(*inputs[1:4])
    ctx.mean = inputs[4]


# The two are linear and each other's adjoint, so each is the other's gradient.
_segment_sum.register_autograd(
    lambda ctx, grad: (_gather_segments(grad, *ctx.saved_tensors, ctx.mean), *[None] * 4),
    setup_context=_keep_index)
_gather_segments.register_autograd(
    lambda ctx, grad: (_segment_sum(grad, *ctx.saved_tensors, ctx.mean), *[None] * 4),
    setup_context=_keep_index)


def segment_max_reference(rows: Tensor, inverse: Tensor, order: Tensor,
                          starts: Tensor) -> tuple[Tensor, Tensor]:
    """(R, C) rows -> (M, C) largest values and which row of the segment holds each, int32.

    The first row on ties; a NaN is larger than anything; an empty segment has 0 and -1.
    """
    count, channels = starts.shape[0] - 1, rows.shape[1]
    if order.numel() == 0:
        return rows.new_zeros(count, channels), \
            torch.full((count, channels), -1, dtype=torch.int32, device=rows.device)
    inside = order[:starts[-1]]
    segment = inverse[inside]
    values = rows[inside]
    where = segment[:, None].expand_as(values)
    best = torch.full((count, channels), -torch.inf, dtype=rows.dtype, device=rows.device)
    best = best.scatter_reduce(0, where, values, 'amax')  # hands NaN on
    best = torch.where(starts.diff()[:, None] > 0, best, 0)
    # Among the rows that hold the largest value, the first.
    holds = (values == best[segment]) | (values.isnan() & best[segment].isnan())
    ordinal = torch.arange(len(segment), device=rows.device) - starts[segment]
    nobody = torch.iinfo(torch.int32).max
    ordinal = torch.where(holds, ordinal[:, None], nobody).int()
    arg = torch.full((count, channels), nobody, dtype=torch.int32, device=rows.device)
    arg = arg.scatter_reduce(0, where, ordinal, 'amin')
    return best, torch.where(arg == nobody, -1, arg)


def segment_max_backward_reference(grad: Tensor, arg: Tensor, inverse: Tensor, order: Tensor,
                                   starts: Tensor) -> Tensor:
    """(M, C) gradient of the maxima -> (R, C): all of it to the row that holds the maximum."""
    out = grad.new_zeros(inverse.shape[0], grad.shape[1])
    if out.numel() == 0 or grad.numel() == 0:
        return out
    row = order[(starts[:-1, None] + arg.clamp(min=0)).clamp(max=order.shape[0] - 1)]
    # An empty segment adds zero to the row it does not have.
    return out.scatter_add(0, row, torch.where(arg >= 0, grad, 0))


_segment_max = torch.library.custom_op('mmkd::segment_max', segment_max_reference,
                                       mutates_args=())
_segment_max_backward = torch.library.custom_op(
    'mmkd::segment_max_backward', segment_max_backward_reference, mutates_args=())


@_segment_max.register_fake
def _(rows, inverse, order, starts):
    shape = starts.shape[0] - 1, rows.shape[1]
    return rows.new_empty(shape), rows.new_empty(shape, dtype=torch.int32)


@_segment_max_backward.register_fake
def _(grad, arg, inverse, order, starts):
    return grad.new_empty(inverse.shape[0], grad.shape[1])


def _keep_max(ctx, inputs, output):
    ctx.save_for_backward(output[1], *inputs[1:])
    ctx.mark_non_differentiable(output[1])


_segment_max.register_autograd(
    lambda ctx, grad, _: (_segment_max_backward(grad, *ctx.saved_tensors), None, None, None),
    setup_context=_keep_max)


def as_segments(op, index, length, num_segments):
    """(inverse, order, starts) of a VoxelIndex or of a vector of ids."""
    if isinstance(index, VoxelIndex):
        if num_segments is not None:
            raise ValueError(f'{op}: a VoxelIndex knows its number of voxels')
        if length is not None and sizes_differ(index.inverse.shape[0], length):
            raise ValueError(f'{op}: the index was made of {len(index.inverse)} points, but '
                             f'there are {length} rows of features')
        return index.inverse, index.order, index.starts
    check_tensor(op, 'index', index, ('N' if length is None else length,), INDEX)
    if num_segments is None:
        raise ValueError(f'{op}: ids need their number (num_voxels or num_segments), which the '
                         'largest of them does not tell')
    check_integer(op, 'the number of segments', num_segments, 0)
    check_indices(op, 'index', index, -1, num_segments)
    return index.long(), *csr_index(index, num_segments)


def scatter_points(features, index, reduce='mean', num_voxels=None):
    """Reduce the features of the points of each voxel.

    Every voxel sums its points in order of their index, so the result does not depend on the
    number of threads or on the device's scheduling; half types are summed in float32.

    Args:
        features: (N, C) floating, one row per point.
        index: the :class:`VoxelIndex` of the points, or (N,) integer voxel of each point with
            -1 for none.
        reduce: 'sum', 'mean' or 'max'. The gradient of a maximum goes to the point that holds
            it, the one with the lowest index on ties; a NaN is the maximum of its voxel, and
            the first one takes the gradient.
        num_voxels: M, needed with a tensor of ids; a voxel without points then gets 0.

    Returns:
        Tensor: (M, C), the dtype of ``features``.

    Raises:
        ValueError: an unknown ``reduce``, features that do not go with the index, ids outside
            [-1, M).
    """
    check_choice('scatter_points', 'reduce', reduce, ('sum', 'mean', 'max'))
    check_tensor('scatter_points', 'features', features, ('N', 'C'))
    parts = as_segments('scatter_points', index, features.shape[0], num_voxels)
    check_same_device('scatter_points', features=features, index=parts[0])
    if reduce == 'max':
        return _segment_max(features, *parts)[0]
    return _segment_sum(features, *parts, reduce == 'mean')


def gather_voxels(voxel_features, index):
    """Give every point the features of its voxel: the way back from :func:`scatter_points`.

    Args:
        voxel_features: (M, C) floating, one row per voxel.
        index: the :class:`VoxelIndex` of the points, or (N,) integer voxel of each point with
            -1 for none.

    Returns:
        Tensor: (N, C), zero for points in no voxel. The gradient of a voxel is the sum over
        its points, in order.

    Raises:
        ValueError: features that do not go with the index, ids outside [-1, M).
    """
    check_tensor('gather_voxels', 'voxel_features', voxel_features, ('M', 'C'))
    count = voxel_features.shape[0]
    if isinstance(index, VoxelIndex):
        if sizes_differ(index.unique.shape[0], count):
            raise ValueError(f'gather_voxels: the index has {len(index.unique)} voxels, but '
                             f'there are {count} rows of voxel_features')
        parts = as_segments('gather_voxels', index, None, None)
    else:
        parts = as_segments('gather_voxels', index, None, count)
    check_same_device('gather_voxels', voxel_features=voxel_features, index=parts[0])
    return _gather_segments(voxel_features, *parts, False)


def segment_mean(features, ids, num_segments, eps=0.):
    """Mean of the rows that share an id: superpixels (SLidR), prototypes of classes.

    Args:
        features: (N, C) floating.
        ids: (N,) integer segment of each row, -1 for none. Ids of several images need an
            offset each.
        num_segments: S.
        eps: added to each count; SLidR's code has 1e-6 there.

    Returns:
        Tensor: (S, C), zero for a segment without rows.

    Raises:
        ValueError: ids outside [-1, S), or as many ids as there are not rows.
    """
    if not eps:
        return scatter_points(features, ids, 'mean', num_segments)
    parts = as_segments('segment_mean', ids, features.shape[0], num_segments)
    sums = _segment_sum(accumulated(features), *parts, False)
    return (sums / (parts[2].diff() + eps)[:, None]).to(features.dtype)


def index_of_coors(op, coors):
    """:func:`unique_index` of integer rows, and the (M, D) distinct rows in ascending order.

    A row with a negative entry belongs to none. Reads the largest coordinates.
    """
    check_tensor(op, 'coors', coors, ('N', 'D'), INDEX)
    if coors.shape[1] == 0:
        raise ValueError(f'{op}: coors have no columns')
    wide = coors.long()
    sizes = (wide.amax(0) + 1).clamp(min=1).tolist() if len(wide) else [1] * coors.shape[1]
    total = 1
    for size in sizes:
        total *= size
    if total > torch.iinfo(torch.int64).max:
        raise ValueError(f'{op}: coordinates up to {[s - 1 for s in sizes]} are more cells than '
                         'an int64 can number')
    keys = wide[:, 0]
    for column, size in zip(wide.unbind(1)[1:], sizes[1:], strict=True):
        keys = keys * size + column
    unique, *parts = unique_index(torch.where((wide < 0).any(1), -1, keys))
    columns = []
    for size in reversed(sizes):
        columns.append(unique % size)
        unique = unique.div(size, rounding_mode='floor')
    return torch.stack(columns[::-1], 1).to(coors.dtype), parts


def dynamic_scatter(feats, coors, reduce_type='max'):
    """Reduce points that share voxel coordinates; stands in for ``mmcv.ops.dynamic_scatter``.

    Works on the CPU too, gives the same bits every time, takes a NaN, and batched coordinates
    in one go, samples without points included.

    Args:
        feats: (N, C) floating.
        coors: (N, D) integer voxel of each point, e.g. (z, y, x) or (b, z, y, x). A row with a
            negative entry is left out.
        reduce_type: 'sum', 'mean' or 'max'.

    Returns:
        tuple: (M, C) features, and (M, D) coordinates in ascending order.
    """
    check_choice('dynamic_scatter', 'reduce_type', reduce_type, ('sum', 'mean', 'max'))
    check_tensor('dynamic_scatter', 'feats', feats, ('N', 'C'))
    check_tensor('dynamic_scatter', 'coors', coors, (feats.shape[0], 'D'), INDEX)
    check_same_device('dynamic_scatter', feats=feats, coors=coors)
    voxel_coors, parts = index_of_coors('dynamic_scatter', coors)
    if reduce_type == 'max':
        return _segment_max(feats, *parts)[0], voxel_coors
    return _segment_sum(feats, *parts, reduce_type == 'mean'), voxel_coors


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
