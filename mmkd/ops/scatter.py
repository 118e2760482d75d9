"""Point to voxel and back: sum, mean and max over the points of each voxel."""
import torch

from .checks import (
    INDEX,
    accumulated,
    check_choice,
    check_integer,
    check_number,
    check_ranges,
    check_same_device,
    check_tensor,
    sizes_differ,
    values_are_checked,
)
from .reductions import gather_segments, segment_max, segment_sum
from .segments import csr_index
from .voxels import VoxelIndex


def as_segments(op, index, length, num_segments, name='index', number='num_voxels'):
    """(inverse, order, starts) of a VoxelIndex or of a vector of ids."""
    if isinstance(index, VoxelIndex):
        if num_segments is not None:
            raise ValueError(f'{op}: a VoxelIndex knows its number of voxels')
        if length is not None and sizes_differ(index.inverse.shape[0], length):
            raise ValueError(f'{op}: the index was made of {len(index.inverse)} points, but '
                             f'there are {length} rows of features')
        return index.inverse, index.order, index.starts
    check_tensor(op, name, index, ('N' if length is None else length,), INDEX)
    if num_segments is None:
        raise ValueError(f'{op}: {name} is a tensor of ids, which needs {number}: the largest of '
                         'them does not tell how many there are')
    check_integer(op, number, num_segments, 0)
    check_ranges(op, (name, index, -1, num_segments))
    inverse = index.long()
    if not values_are_checked():
        inverse = torch.where((inverse >= 0) & (inverse < num_segments), inverse, -1)
    return inverse, *csr_index(index, num_segments)


def scatter_points(features, index, reduce='mean', num_voxels=None):
    """Reduce the features of the points of each voxel.

    Every voxel sums its points in order of their index, in chunks of 256 whose sums are added in
    order, so the result does not depend on the number of threads or on the device's scheduling;
    half types are summed in float32.

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
        return segment_max(features, *parts)[0]
    return segment_sum(features, *parts, reduce == 'mean')


def gather_voxels(features, index):
    """Give every point the features of its voxel: the way back from :func:`scatter_points`.

    Args:
        features: (M, C) floating, one row per voxel.
        index: the :class:`VoxelIndex` of the points, or (N,) integer voxel of each point with
            -1 for none.

    Returns:
        Tensor: (N, C), zero for points in no voxel. The gradient of a voxel is the sum over
        its points, in order.

    Raises:
        ValueError: features that do not go with the index, ids outside [-1, M).
    """
    check_tensor('gather_voxels', 'features', features, ('M', 'C'))
    count = features.shape[0]
    if isinstance(index, VoxelIndex):
        if sizes_differ(index.unique.shape[0], count):
            raise ValueError(f'gather_voxels: the index has {len(index.unique)} voxels, but '
                             f'there are {count} rows of features')
        parts = as_segments('gather_voxels', index, None, None)
    else:
        parts = as_segments('gather_voxels', index, None, count)
    check_same_device('gather_voxels', features=features, index=parts[0])
    return gather_segments(features, *parts, False)


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
        ValueError: ids outside [-1, S) or not one for each row, a negative ``eps``.
    """
    op = 'segment_mean'
    check_tensor(op, 'features', features, ('N', 'C'))
    if check_number(op, 'eps', eps) < 0:
        raise ValueError(f'{op}: eps must not be negative, but is {eps}')
    parts = as_segments(op, ids, features.shape[0], num_segments, 'ids', 'num_segments')
    check_same_device(op, features=features, ids=parts[0])
    if not eps:
        return segment_sum(features, *parts, True)
    sums = segment_sum(accumulated(features), *parts, False)
    counts = parts[2].diff().to(sums.dtype)
    return (sums / (counts + eps)[:, None]).to(features.dtype)
