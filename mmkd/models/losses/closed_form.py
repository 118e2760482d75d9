"""Attach a gradient that was computed in closed form to a loss value.

A loss that knows its own gradient computes value and gradient together, while
the data are in cache, and hands both to :func:`attach_gradient`. Nothing but
the gradient is kept until the backward pass.
"""
import torch
from torch import Tensor
from torch.autograd import Function


def _graph_is_kept() -> bool:
    """Whether the running backward pass was asked to retain its graph."""
    probe = getattr(torch._C._autograd, '_get_current_graph_task_keep_graph', None)
    return True if probe is None else probe()


class _AttachGradient(Function):

    @staticmethod
    def forward(ctx, x: Tensor, value: Tensor, grad: Tensor) -> Tensor:
        ctx.grad, ctx.dtype = grad, x.dtype
        return value.clone()

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        if torch.is_grad_enabled():
            # The gradient is a constant to autograd: a second derivative would silently
            # miss this term.
            raise RuntimeError('this loss has a closed-form gradient and can be differentiated '
                               'only once; call backward or autograd.grad without create_graph')
        grad = ctx.grad
        if grad is None:
            raise RuntimeError('the gradient of this loss was already used; pass '
                               'retain_graph=True to the first backward to use it twice')
        if _graph_is_kept():
            grad = grad * grad_output
        else:  # nobody can ask again: scale in place and let go of the buffer
            ctx.grad = None
            if grad_output.device.type != 'cpu' or grad_output.item() != 1:
                grad.mul_(grad_output)
        return grad.to(ctx.dtype), None, None


def attach_gradient(x: Tensor, value: Tensor, grad: Tensor | None) -> Tensor:
    """Return ``value`` as a function of ``x`` whose derivative is ``grad``.

    The result can be differentiated once; ``create_graph=True`` is refused.

    Args:
        x: the tensor the value depends on, any shape.
        value: scalar, without a graph.
        grad: d value / d x in x's shape, or None if no gradient is wanted. It may be
            wider than x (float32 for a float16 x): it is scaled before it is rounded, so
            that a loss scale still saves small entries. It is consumed by the backward.
    """
    if grad is None:
        return value
    return _AttachGradient.apply(x, value, grad)


def zero_of(x: Tensor) -> Tensor:
    """A zero with a graph to ``x``, also when ``x`` holds infinities."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return attach_gradient(x, x.new_zeros((), dtype=dtype), torch.zeros_like(x))


def wants_gradient(x: Tensor) -> bool:
    """Whether a gradient with respect to ``x`` can be asked for later."""
    return torch.is_grad_enabled() and x.requires_grad
