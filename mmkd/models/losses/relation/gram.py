"""L1 distance of Gram matrices, streamed: memory is linear in the number of cells."""
import torch

from ..closed_form import attach_gradient, wants_gradient
from ..full_precision import full_precision

# Bytes of one tile of a Gram matrix; two are alive at a time.
TILE_BYTES = 4 * 1024 * 1024


def gram_l1(student, teacher):
    """The mean over all pairs of cells of |s_i . s_j - t_i . t_j|, added up over the samples.

    Args:
        student: (B, Cs, ...) float32 or float64, any number of cells; gets the gradient.
        teacher: (B, Ct, ...) with as many cells, a constant. Pairs with a cell where it is NaN have
            no difference.

    Returns:
        Scalar, that can be differentiated once.
    """
    wanted = wants_gradient(student)
    with torch.no_grad(), full_precision(student):
        s, t = (x.detach().flatten(2).mT.contiguous() for x in (student, teacher))
        value, grad = s.new_zeros(()), torch.zeros_like(s) if wanted else None
        unknown, cells = t.isnan().any(2), s.shape[1]
        step = max(1, TILE_BYTES // max(1, cells * s.element_size()))
        scale = 1 / max(1, cells) ** 2
        for b in range(len(s)):
            for i in range(0, cells, step):
                gap = s[b, i:i + step] @ s[b].T - t[b, i:i + step] @ t[b].T
                gap.masked_fill_(unknown[b, i:i + step, None] | unknown[b], 0)
                value += scale * gap.abs().sum()
                if wanted:  # the matrix is symmetric: each row counts as a column, too
                    grad[b, i:i + step] = 2 * scale * (gap.sign() @ s[b])
        grad = grad.mT.reshape(student.shape) if wanted else None
    return attach_gradient(student, value, grad)
