"""BEV pooling (lift, splat): image features, weighted by depth, summed per cell of a BEV grid."""
import math

import torch
from torch import Tensor

from .bev_index import BEVPoolIndex
from .checks import (
    INDEX,
    accumulator,
    check_integer,
    check_ranges,
    check_same_device,
    check_tensor,
    values_are_checked,
)
from .segments import csr_index

# Numbers that the reference gathers at a time: 16 MiB of float32.
_REFERENCE_NUMBERS = 2 ** 22


def bev_pool_reference(depth: Tensor, features: Tensor, ranks_depth: Tensor, ranks_feat: Tensor,
                       starts: Tensor, cells: Tensor) -> Tensor:
    """Sums of depth x feature per cell: gather and index_add, in pieces.

    Args:
        cells: for the gradient alone: cell of each depth entry (B, N, D, H, W), which a
            pixel's ray then is; or of each rank (P,), in any relation to the pixels.
    """
    wide = accumulator(features.dtype)
    channels = features.shape[-1]
    rows, weights = features.reshape(math.prod(features.shape[:-1]), channels), depth.flatten()
    out = features.new_zeros(len(starts) - 1, channels, dtype=wide)
    position = torch.arange(len(ranks_depth), device=starts.device)
    cell = torch.searchsorted(starts.long(), position, right=True) - 1
    valid = (cell >= 0) & (cell < len(out)) & (ranks_depth >= 0) & (ranks_feat >= 0) & \
        (ranks_depth < len(weights)) & (ranks_feat < len(rows))
    for at in valid.nonzero().flatten().split(max(1, _REFERENCE_NUMBERS // max(channels, 1))):
        product = weights[ranks_depth[at].long()].to(wide)[:, None] * \
            rows[ranks_feat[at].long()].to(wide)
        out.index_add_(0, cell[at], product)
    return out.to(features.dtype)


_bev_pool = torch.library.custom_op('mmkd::bev_pool', bev_pool_reference, mutates_args=())


@_bev_pool.register_fake
def _(depth, features, ranks_depth, ranks_feat, starts, cells):
    return features.new_empty(starts.shape[0] - 1, features.shape[-1])


def bev_pool_backward_reference(grad: Tensor, depth: Tensor, features: Tensor, cells: Tensor,
                                pixels: Tensor | None, order: Tensor | None,
                                starts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gradients of depth (flat) and of features (F, C).

    Args:
        cells: cell of each depth entry; an entry outside [0, cells) gets no gradient.
        pixels, order, starts: row of features of each entry, and the entries sorted by it; None
            where depth and features are (B, N, D, H, W) and (B, N, H, W, C).
    """
    wide = accumulator(features.dtype)
    channels = features.shape[-1]
    rows = features.reshape(math.prod(features.shape[:-1]), channels)
    weights, cell = depth.flatten(), cells.flatten()
    if pixels is None:
        bins, plane = depth.shape[2], max(depth.shape[3] * depth.shape[4], 1)
        i = torch.arange(len(weights), device=cell.device)
        pixels = i.div(max(bins, 1) * plane, rounding_mode='floor') * plane + i % plane
    grad_depth = torch.zeros_like(weights, dtype=wide)
    grad_features = torch.zeros_like(rows, dtype=wide)
    valid = (cell >= 0) & (cell < len(grad)) & (pixels >= 0) & (pixels < len(rows))
    for at in valid.nonzero().flatten().split(max(1, _REFERENCE_NUMBERS // max(channels, 1))):
        there, row = grad[cell[at].long()].to(wide), pixels[at].long()
        grad_features.index_add_(0, row, weights[at].to(wide)[:, None] * there)
        grad_depth[at] = (there * rows[row].to(wide)).sum(1)
    return grad_depth.to(depth.dtype), grad_features.to(features.dtype)


_bev_pool_backward = torch.library.custom_op(
    'mmkd::bev_pool_backward', bev_pool_backward_reference, mutates_args=())


@_bev_pool_backward.register_fake
def _(grad, depth, features, cells, pixels, order, starts):
    return depth.new_empty(depth.numel()), \
        features.new_empty(math.prod(features.shape[:-1]), features.shape[-1])


def _save(ctx, inputs, output):
    depth, features, ranks_depth, ranks_feat, _, cells = inputs
    ctx.save_for_backward(depth, features, ranks_depth, ranks_feat, cells)


def _gradients_of_ranks(grad, depth, features, ranks_depth, ranks_feat, ranks_bev):
    """Gradients for ranks in any relation to each other, an entry of depth used twice, too.

    Each use first gets a weight of its own, then the gradients of the uses are summed.
    """
    count, pixels = depth.numel(), math.prod(features.shape[:-1])
    valid = (ranks_depth >= 0) & (ranks_depth < count)
    zero = depth.new_zeros(1)  # something to gather from, should depth be empty
    weights = torch.cat([depth.flatten(), zero])[torch.where(valid, ranks_depth, count)]
    order, starts = csr_index(ranks_feat, pixels)
    grad_weights, grad_features = _bev_pool_backward(
        grad, weights, features, torch.where(valid, ranks_bev, -1), ranks_feat, order, starts)
    order, starts = csr_index(ranks_depth, count)
    grad_depth = _bev_pool(torch.ones_like(zero), grad_weights[:, None],
                           torch.zeros_like(order), order, starts, order)
    return grad_depth, grad_features


def _backward(ctx, grad):
    depth, features, ranks_depth, ranks_feat, cells = ctx.saved_tensors
    if cells.dim() == 5:
        grads = _bev_pool_backward(grad, depth, features, cells, None, None, None)
    else:
        grads = _gradients_of_ranks(grad, depth, features, ranks_depth, ranks_feat, cells)
    return grads[0].view(depth.shape), grads[1].view(features.shape), None, None, None, None


_bev_pool.register_autograd(_backward, setup_context=_save)


def _pool(depth, features, ranks_depth, ranks_feat, starts, cells, bev_shape):
    dtype = torch.promote_types(depth.dtype, features.dtype)
    out = _bev_pool(depth.to(dtype), features.to(dtype), ranks_depth, ranks_feat, starts, cells)
    return out.view(*bev_shape, features.shape[-1]).permute(0, 4, 1, 2, 3)


def bev_pool(depth, features, index):
    """Sum the image features of each BEV cell, weighted by the probability of their depth.

    out[cell] = sum over the points of the cell, by index, of depth[point] * features[pixel],
    accumulated in float32 (float64 for float64). The volume of depth x feature is never
    built. Neither result nor gradient depends on the number of threads.

    Args:
        depth: (B, N, D, H, W) floating: weight of each depth bin, e.g. after a softmax.
        features: (B, N, H, W, C) floating; a channels-last feature map of (B * N, C, H, W) has
            this memory already. Two dtypes are promoted, as torch does for a product.
        index: of :func:`bev_pool_index`, for the same B, N, D, H, W.

    Returns:
        Tensor: (B, C, Z, Y, X), zeros where no point fell. Its memory is (B, Z, Y, X, C): with
        Z = 1, ``out.squeeze(2)`` is a channels-last map. A gradient that comes back in that
        layout is not copied either.

    Raises:
        ValueError: shapes or devices that do not go together, integer values.
    """
    op = 'bev_pool'
    if not isinstance(index, BEVPoolIndex):
        raise ValueError(f'{op}: index must be a BEVPoolIndex, of bev_pool_index, not '
                         f'{type(index).__name__}')
    check_tensor(op, 'depth', depth, tuple(index.cells.shape))
    b, n, _, h, w = depth.shape
    check_tensor(op, 'features', features, (b, n, h, w, 'C'))
    check_same_device(op, depth=depth, features=features, index=index.cells)
    return _pool(depth, features, index.points, index.pixels, index.starts, index.cells,
                 index.bev_shape)


def bev_pool_v2(depth, features, ranks_depth, ranks_feat, ranks_bev, bev_feat_shape,
                interval_starts, interval_lengths):
    """BEVDet's ``bev_pool_v2``, with its arguments and its result; see :func:`bev_pool`.

    Use :func:`bev_pool` where the geometry is at hand: this function sorts the ranks again
    for a backward. Ranks may have any relation to each other; an entry of depth may be used
    several times, and its gradient is then the sum (BEVDet's kernel keeps one of them).

    Args:
        depth: (B, N, D, H, W) floating.
        features: (B, N, H, W, C) floating.
        ranks_depth: (K,) int32 or int64 flat index into depth of each point.
        ranks_feat: (K,) flat index (b, n, h, w) of its feature.
        ranks_bev: (K,) its cell ((b * Z + z) * Y + y) * X + x, ascending.
        bev_feat_shape: (B, Z, Y, X, C).
        interval_starts: (M,) first point of each occupied cell.
        interval_lengths: (M,) number of points of each occupied cell.

    Returns:
        Tensor: (B, C, Z, Y, X) with the memory of (B, Z, Y, X, C).

    Raises:
        ValueError: shapes, dtypes or devices that do not go together; ranks out of range or
            not sorted; intervals that are not those of ranks_bev. The last three need the
            values and are not looked for while compiling: there, ranks out of range are
            skipped, and the intervals of ranks_bev are taken.
    """
    op = 'bev_pool_v2'
    check_tensor(op, 'depth', depth, ('B', 'N', 'D', 'H', 'W'))
    b, n, _, h, w = depth.shape
    check_tensor(op, 'features', features, (b, n, h, w, 'C'))
    shape = tuple(bev_feat_shape.tolist() if isinstance(bev_feat_shape, Tensor)
                  else bev_feat_shape)
    if len(shape) != 5:
        raise ValueError(f'{op}: bev_feat_shape must be (B, Z, Y, X, C), not {shape}')
    for size in shape:
        check_integer(op, 'bev_feat_shape', size, 0)
    if shape[0] != b or shape[4] != features.shape[-1]:
        raise ValueError(f'{op}: bev_feat_shape {shape} does not go with features '
                         f'{tuple(features.shape)}: B and C must be the same')
    cells = math.prod(shape[:4])
    ranks = dict(ranks_depth=ranks_depth, ranks_feat=ranks_feat, ranks_bev=ranks_bev)
    check_tensor(op, 'ranks_bev', ranks_bev, ('K',), INDEX)
    for name, values in ranks.items():
        check_tensor(op, name, values, tuple(ranks_bev.shape), INDEX)
    check_tensor(op, 'interval_starts', interval_starts, ('M',), INDEX)
    check_tensor(op, 'interval_lengths', interval_lengths, tuple(interval_starts.shape), INDEX)
    check_same_device(op, depth=depth, features=features, **ranks, interval_starts=interval_starts,
                      interval_lengths=interval_lengths)
    if values_are_checked():
        _check_ranks(op, dict(ranks_depth=(ranks_depth, depth.numel()),
                              ranks_feat=(ranks_feat, b * n * h * w),
                              ranks_bev=(ranks_bev, cells)), interval_starts, interval_lengths)
    ranks_depth, ranks_feat, ranks_bev = (
        ranks.detach().long() for ranks in (ranks_depth, ranks_feat, ranks_bev))
    starts = torch.searchsorted(ranks_bev, torch.arange(cells + 1, device=depth.device))
    return _pool(depth, features, ranks_depth, ranks_feat, starts, ranks_bev, shape[:4])


def _check_ranks(op, ranks, interval_starts, interval_lengths):
    """Ranks lie below their limits, ranks_bev is sorted, and the intervals are its own."""
    ranks_bev = ranks['ranks_bev'][0]
    points = ranks_bev.shape[0]
    steps = ranks_bev.diff(prepend=ranks_bev.new_full((1,), -1))
    begins = interval_starts.long()
    ends = torch.cat([begins[1:], begins.new_full((min(len(begins), 1),), points)])
    # As many intervals as cells, ascending, each at the first point of a cell: those of the
    # cells. One more point, for interval_starts to be looked up in where there is none.
    first = torch.cat([steps > 0, steps.new_zeros(1, dtype=torch.bool)])
    begins_right = (first[begins.clamp(0, points)] & (ends > begins)).all()
    lengths_right = (ends - begins == interval_lengths).all()
    least, count, begins_right, lengths_right, total = check_ranges(
        op, *((name, values, 0, limit) for name, (values, limit) in ranks.items()),
        also=(steps[1:].clamp(max=0).sum(), first.sum(), begins_right.long(),
              lengths_right.long(), interval_lengths.sum()))
    if least < 0:
        raise ValueError(f'{op}: ranks_bev must be sorted')
    if count != len(begins) or not begins_right or not lengths_right:
        raise ValueError(f'{op}: interval_starts and interval_lengths must be those of '
                         f'ranks_bev, which holds {count} cells in {points} '
                         f'points; given are {len(begins)} intervals over {total} points')
