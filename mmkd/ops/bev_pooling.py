"""BEV pooling (lift, splat): image features, weighted by depth, summed per cell of a BEV grid."""
import math

import torch
from torch import Tensor

from .bev_index import BEVPoolIndex
from .bev_pool_references import bev_pool_backward_reference, bev_pool_reference
from .bev_ranks import check_like, find_starts, refuse_ranks
from .checks import (
    INDEX,
    INT64_MAX,
    check_integers,
    check_same_device,
    check_tensor,
    exceeds,
    values_are_checked,
)
from .reductions import segment_sum
from .segments import csr_index

_bev_pool = torch.library.custom_op('mmkd::bev_pool', bev_pool_reference, mutates_args=())


@_bev_pool.register_fake
def _(depth, features, ranks_depth, ranks_feat, starts, cells):
    return features.new_empty(starts.shape[0] - 1, features.shape[-1])


_bev_pool_backward = torch.library.custom_op(
    'mmkd::bev_pool_backward', bev_pool_backward_reference, mutates_args=())


@_bev_pool_backward.register_fake
def _(grad, depth, features, cells, pixels, order, starts, need_depth=True, need_features=True):
    return depth.new_empty(depth.numel() if need_depth else 0), \
        features.new_empty(math.prod(features.shape[:-1]) if need_features else 0,
                           features.shape[-1])


def _save(ctx, inputs, output):
    depth, features, _, _, _, cells = inputs
    ctx.save_for_backward(depth, features, cells)


def _shaped(ctx, grads, inputs):
    """Gradients as autograd wants them: None where none is needed."""
    return [g.view(t.shape) if need else None
            for g, t, need in zip(grads, inputs, ctx.needs_input_grad, strict=False)]


def _backward(ctx, grad):
    depth, features, cells = ctx.saved_tensors
    grads = _bev_pool_backward(grad, depth, features, cells, None, None, None,
                               *ctx.needs_input_grad[:2])
    return *_shaped(ctx, grads, (depth, features)), None, None, None, None


_bev_pool.register_autograd(_backward, setup_context=_save)


def bev_pool_ranks_reference(depth: Tensor, features: Tensor, ranks_depth: Tensor,
                             ranks_feat: Tensor, ranks_bev: Tensor, interval_starts: Tensor,
                             interval_lengths: Tensor,
                             cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pool of ranks in any relation to each other; the sums, and what find_starts gives."""
    starts, wrong = find_starts(ranks_depth, ranks_feat, ranks_bev, interval_starts,
                                interval_lengths, depth.numel(),
                                math.prod(features.shape[:-1]), cells)
    out = bev_pool_reference(depth, features, ranks_depth, ranks_feat, starts, starts)
    return out, starts, wrong


_bev_pool_ranks = torch.library.custom_op('mmkd::bev_pool_ranks', bev_pool_ranks_reference,
                                          mutates_args=())


@_bev_pool_ranks.register_fake
def _(depth, features, ranks_depth, ranks_feat, ranks_bev, interval_starts, interval_lengths,
      cells):
    return features.new_empty(cells, features.shape[-1]), ranks_bev.new_empty(cells + 1), \
        ranks_bev.new_empty(1, dtype=torch.int32)


def _save_ranks(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:4], output[1])
    ctx.mark_non_differentiable(*output[1:])


def _backward_of_ranks(ctx, grad, *_):
    """An entry of depth may be used twice: each use first gets a weight of its own, then the
    gradients of the uses are summed."""
    depth, features, ranks_depth, ranks_feat, starts = ctx.saved_tensors
    count, pixels = depth.numel(), math.prod(features.shape[:-1])
    position = torch.arange(len(ranks_depth), device=starts.device, dtype=starts.dtype)
    cells = torch.searchsorted(starts, position, right=True).to(ranks_feat.dtype) - 1
    valid = (ranks_depth >= 0) & (ranks_depth < count)
    weights = torch.cat([depth.flatten(), depth.new_zeros(1)])  # not empty
    weights = weights[torch.where(valid, ranks_depth, count)]
    grads = _bev_pool_backward(grad, weights, features, torch.where(valid, cells, -1), ranks_feat,
                               *csr_index(ranks_feat, pixels), *ctx.needs_input_grad[:2])
    if ctx.needs_input_grad[0]:
        of_uses = segment_sum(grads[0][:, None], ranks_depth.long(),
                              *csr_index(ranks_depth, count), False)
        grads = of_uses, grads[1]
    return *_shaped(ctx, grads, (depth, features)), *[None] * 6


_bev_pool_ranks.register_autograd(_backward_of_ranks, setup_context=_save_ranks)


def _promoted(depth, features):
    if depth.dtype == features.dtype:
        return depth, features
    dtype = torch.promote_types(depth.dtype, features.dtype)
    return depth.to(dtype), features.to(dtype)


def _as_map(rows, bev_shape):
    """(cells, C) as (B, C, Z, Y, X)."""
    return rows.view(*bev_shape, rows.shape[-1]).permute(0, 4, 1, 2, 3)


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
    depth, features = _promoted(depth, features)
    out = _bev_pool(depth, features, index.points, index.pixels, index.starts, index.cells)
    return _as_map(out, index.bev_shape)


def bev_pool_v2(depth, features, ranks_depth, ranks_feat, ranks_bev, bev_feat_shape,
                interval_starts, interval_lengths):
    """BEVDet's ``bev_pool_v2``, with its arguments and its result; see :func:`bev_pool`.

    Use :func:`bev_pool` where the geometry is at hand: this function sorts the ranks in each
    backward. Ranks may have any relation to each other; an entry of depth may be used
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
    shape = check_integers(op, 'bev_feat_shape', bev_feat_shape, 'BZYXC', 0)
    if shape[0] != b or shape[4] != features.shape[-1]:
        raise ValueError(f'{op}: bev_feat_shape {shape} does not go with features '
                         f'{tuple(features.shape)}: B and C must be the same')
    cells = math.prod(shape[:4])
    if exceeds(cells, INT64_MAX - 1):
        raise ValueError(f'{op}: bev_feat_shape {shape} has more cells than int64 can number')
    check_tensor(op, 'ranks_bev', ranks_bev, ('K',), INDEX)
    check_tensor(op, 'interval_starts', interval_starts, ('M',), INDEX)
    for name, values, like in (('ranks_depth', ranks_depth, ranks_bev),
                               ('ranks_feat', ranks_feat, ranks_bev),
                               ('interval_lengths', interval_lengths, interval_starts)):
        check_like(op, name, values, like)
    check_same_device(op, depth=depth, features=features, ranks_depth=ranks_depth,
                      ranks_feat=ranks_feat, ranks_bev=ranks_bev,
                      interval_starts=interval_starts, interval_lengths=interval_lengths)
    given = ranks_depth, ranks_feat, ranks_bev, interval_starts, interval_lengths
    if any(t.dtype != ranks_bev.dtype for t in given):
        given = [t.long() for t in given]
    depth, features = _promoted(depth, features)
    out, _, wrong = _bev_pool_ranks(depth, features, *given, cells)
    if values_are_checked() and wrong.tolist() != [0]:
        refuse_ranks(op, *given, depth.numel(), b * n * h * w, cells)
    return _as_map(out, shape[:4])
