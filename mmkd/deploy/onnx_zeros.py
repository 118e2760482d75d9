"""Zeros that are made when the graph runs, not stored in its file."""
import torch


class _Zeros(torch.autograd.Function):
    @staticmethod
    def forward(ctx, like, shape):
        return like.new_zeros(shape)

    @staticmethod
    def symbolic(g, like, shape):
        return g.op('ConstantOfShape', g.op('Constant', value_t=torch.tensor(shape)),
                    value_t=torch.zeros(1))


def zeros(like, shape):
    """float32 zeros of a fixed shape; ``torch.zeros`` would be written into the file.

    Args:
        like (Tensor): Gives the device; float32.
        shape (tuple of int): The shape.
    """
    return _Zeros.apply(like, list(shape))
