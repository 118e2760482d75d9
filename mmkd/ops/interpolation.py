"""Weighted sums of a few rows of features each: interpolation from neighbours or corners."""
import torch
from torch import Tensor

from .checks import (
    FLOATING,
    INDEX,
    accumulated,
    accumulator,
    check_ranges,
    check_same_device,
    check_tensor,
)
from .segments import csr_index

# The reference gathers no more than this many bytes at a time.
TILE_BYTES = 64 * 2 ** 20


def _rows(features, index):
    """(N, C) rows in the accumulator's dtype, and (N, 1) whether they exist."""
    valid = (index >= 0) & (index < features.shape[0])
    if not features.shape[0]:
        shape = (index.shape[0], features.shape[1])
        return features.new_zeros(shape, dtype=accumulator(features.dtype)), valid[:, None]
    rows = features[torch.where(valid, index, 0).long()]
    return accumulated(rows), valid[:, None]


def interpolate_reference(features: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of rows; see :func:`interpolate`. Weights in the accumulator's dtype."""
    out = weights.new_zeros(indices.shape[0], features.shape[1])
    for k in range(indices.shape[1]):
        rows, valid = _rows(features, indices[:, k])
        out += torch.where(valid, weights[:, k, None] * rows, 0)
    return out.to(features.dtype, copy=out.dtype == features.dtype)


def interpolate_features_reference(grad: Tensor, weights: Tensor, order: Tensor,
                                   starts: Tensor) -> Tensor:
    """Gradient of the features: each row sums what it was used for, in the order of use.

    Args:
        grad: (N, C) gradient of the output.
        weights: (N, K).
        order, starts: the flattened (N * K,) indices as :func:`csr_index` sorts them.
    """
    m, c = starts.shape[0] - 1, grad.shape[1]
    out = weights.new_zeros(m, c)
    used = order[:int(starts[-1])]
    if m and c and len(used):
        row, scale = used // weights.shape[1], weights.reshape(-1)[used]
        width = max(1, TILE_BYTES // (len(used) * out.element_size()))
        for at in range(0, c, width):
            terms = scale[:, None] * grad[:, at:at + width][row].to(out.dtype)
            out[:, at:at + width] = torch.segment_reduce(terms, 'sum', offsets=starts, axis=0,
                                                         initial=0)
    return out.to(grad.dtype, copy=out.dtype == grad.dtype)


def interpolate_weights_reference(grad: Tensor, features: Tensor, indices: Tensor) -> Tensor:
    """Gradient of the weights, (N, K), zero where the index is -1; accumulator's dtype."""
    grad = grad.to(accumulator(features.dtype))
    out = grad.new_zeros(indices.shape)
    for k in range(indices.shape[1]):
        rows, valid = _rows(features, indices[:, k])
        out[:, k] = torch.where(valid[:, 0], (grad * rows).sum(1), 0)
    return out


_interpolate = torch.library.custom_op('mmkd::interpolate', interpolate_reference,
                                       mutates_args=())
_interpolate_features = torch.library.custom_op(
    'mmkd::interpolate_features', interpolate_features_reference, mutates_args=())
_interpolate_weights = torch.library.custom_op(
    'mmkd::interpolate_weights', interpolate_weights_reference, mutates_args=())


@_interpolate.register_fake
def _(features, indices, weights):
    return features.new_empty(indices.shape[0], features.shape[1])


@_interpolate_features.register_fake
def _(grad, weights, order, starts):
    return grad.new_empty(starts.shape[0] - 1, grad.shape[1])


@_interpolate_weights.register_fake
def _(grad, features, indices):
    return grad.new_empty(indices.shape, dtype=accumulator(features.dtype))


def _setup(ctx, inputs, output):
    features, indices, weights = inputs
    ctx.rows = features.shape[0]
    # The features are needed for the gradient of the weights alone.
    ctx.save_for_backward(indices, weights, features if ctx.needs_input_grad[2] else None)


def _backward(ctx, grad):
    indices, weights, features = ctx.saved_tensors
    to_features = to_weights = None
    if ctx.needs_input_grad[0]:
        order, starts = csr_index(indices.reshape(-1), ctx.rows)
        to_features = _interpolate_features(grad, weights, order, starts)
    if ctx.needs_input_grad[2]:
        to_weights = _interpolate_weights(grad, features, indices)
    return to_features, None, to_weights


_interpolate.register_autograd(_backward, setup_context=_setup)


def interpolate(features, indices, weights):
    """out[n] = sum over k of weights[n, k] * features[indices[n, k]].

    The sum runs over k in order, in float32 for half types (float64 for float64). The
    gradient of a row of ``features`` is summed in order of (n, k): the same bits each time.

    Args:
        features: (M, C) floating.
        indices: (N, K) int32 or int64 rows of ``features``; -1 contributes nothing, whatever
            its weight.
        weights: (N, K) floating; need not have the features' dtype.

    Returns:
        Tensor: (N, C) in the features' dtype; differentiable once with respect to
        ``features`` and ``weights``.

    Raises:
        ValueError: shapes that do not fit, devices that differ, an index that is below -1 or
            not a row (not looked for while compiling: such an index contributes nothing).
    """
    check_tensor('interpolate', 'features', features, ('M', 'C'))
    check_tensor('interpolate', 'indices', indices, ('N', 'K'), INDEX)
    check_tensor('interpolate', 'weights', weights, tuple(indices.shape), FLOATING)
    check_same_device('interpolate', features=features, indices=indices, weights=weights)
    check_ranges('interpolate', ('indices', indices, -1, features.shape[0]))
    return interpolate_found(features, indices, weights)


def interpolate_found(features, indices, weights):
    """:func:`interpolate` for indices that the library has found itself: nothing is checked."""
    return _interpolate(features, indices, weights.to(accumulator(features.dtype)))


def three_interpolate(features, indices, weights):
    """Weighted sum of three source features for each target, as ``mmcv.ops`` has it.

    Args:
        features: (B, C, M) floating.
        indices: (B, n, 3) int32 or int64 in [0, M); -1 contributes nothing. Any other number
            than 3 works too.
        weights: (B, n, 3) floating.

    Returns:
        Tensor: (B, C, n) in the features' dtype, contiguous; differentiable once with respect
        to ``features`` and (unlike mmcv's) ``weights``.

    Raises:
        ValueError: as :func:`interpolate`.
    """
    op = 'three_interpolate'
    check_tensor(op, 'features', features, ('B', 'C', 'M'))
    b, c, m = features.shape
    check_tensor(op, 'indices', indices, (b, 'n', 'K'), INDEX)
    check_tensor(op, 'weights', weights, tuple(indices.shape), FLOATING)
    check_same_device(op, features=features, indices=indices, weights=weights)
    check_ranges(op, ('indices', indices, -1, m))
    n, k = indices.shape[1:]
    sample = torch.arange(b, device=indices.device)[:, None, None] * m
    rows = torch.where((indices >= 0) & (indices < m), indices + sample, -1)
    out = _interpolate(features.transpose(1, 2).reshape(b * m, c), rows.reshape(b * n, k),
                       weights.reshape(b * n, k).to(accumulator(features.dtype)))
    return out.reshape(b, n, c).transpose(1, 2).contiguous()
