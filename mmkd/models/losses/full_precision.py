"""Layers that a loss owns, in full precision under autocast, forward and backward.

Losses compute in float32 or wider. Where they own layers, autocast has to be told so: in the
forward pass by :func:`full_precision`. The gradient of a product of matrices is such products
again; those of :func:`matmul` are in full precision, too, wherever the backward pass runs. (A
convolution's gradient is none of the operations that autocast changes.)
"""
import torch
from torch.autograd import Function


def full_precision(x):
    """A context in which autocast is off for the device of ``x``."""
    return torch.autocast(x.device.type, enabled=False)


def wide(x):
    """``x`` in float32, or as it is where it is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _MatMul(Function):

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        with full_precision(a):
            return a @ b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        first, second = ctx.needs_input_grad
        with full_precision(grad):
            return grad @ b.mT if first else None, a.mT @ grad if second else None


def matmul(a, b):
    """``a @ b`` for a (N, I, K) and b (N, K, J)."""
    return _MatMul.apply(a, b)
