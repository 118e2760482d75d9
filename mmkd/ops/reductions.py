"""Sum, mean and max over the rows of each segment, and the way back."""
import torch
from torch import Tensor

from .checks import accumulated


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


segment_sum = torch.library.custom_op('mmkd::segment_sum', segment_sum_reference,
                                       mutates_args=())
gather_segments = torch.library.custom_op('mmkd::gather_segments', gather_segments_reference,
                                           mutates_args=())


@segment_sum.register_fake
def _(rows, inverse, order, starts, mean):
    return rows.new_empty(starts.shape[0] - 1, rows.shape[1])


@gather_segments.register_fake
def _(values, inverse, order, starts, mean):
    return values.new_empty(inverse.shape[0], values.shape[1])


def _keep_index(ctx, inputs, output):
    ctx.save_for_backward(*inputs[1:4])
    ctx.mean = inputs[4]


# The two are linear and each other's adjoint, so each is the other's gradient.
segment_sum.register_autograd(
    lambda ctx, grad: (gather_segments(grad, *ctx.saved_tensors, ctx.mean), *[None] * 4),
    setup_context=_keep_index)
gather_segments.register_autograd(
    lambda ctx, grad: (segment_sum(grad, *ctx.saved_tensors, ctx.mean), *[None] * 4),
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


segment_max = torch.library.custom_op('mmkd::segment_max', segment_max_reference,
                                       mutates_args=())
segment_max_backward = torch.library.custom_op(
    'mmkd::segment_max_backward', segment_max_backward_reference, mutates_args=())


@segment_max.register_fake
def _(rows, inverse, order, starts):
    shape = starts.shape[0] - 1, rows.shape[1]
    return rows.new_empty(shape), rows.new_empty(shape, dtype=torch.int32)


@segment_max_backward.register_fake
def _(grad, arg, inverse, order, starts):
    return grad.new_empty(inverse.shape[0], grad.shape[1])


def _keep_max(ctx, inputs, output):
    ctx.save_for_backward(output[1], *inputs[1:])
    ctx.mark_non_differentiable(output[1])


segment_max.register_autograd(
    lambda ctx, grad, _: (segment_max_backward(grad, *ctx.saved_tensors), None, None, None),
    setup_context=_keep_max)
