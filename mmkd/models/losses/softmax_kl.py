"""KL divergence between two softmax distributions, with its closed-form gradient.

    KL = sum p_t (log p_t - log p_s),  d KL / d s = (p_s - p_t) / tau

Value and gradient come from one walk over the data in chunks that fit the cache, so
no full-size intermediate is ever written: only the gradient is.
"""
import math

import torch
from torch import Tensor

from .closed_form import attach_gradient, wants_gradient

# Bytes of one float32 work buffer. With student, teacher and gradient five chunks are in use at
# a time. On a CPU the buffers should stay in the L2 cache; so should all five in a GPU's (A100:
# 40 MB, H100: 50 MB), where a smaller chunk takes less time than its launches.
CHUNK_BYTES_CPU = 768 * 1024
CHUNK_BYTES_DEVICE = 8 * 1024 * 1024


def softmax_kl(student: Tensor, teacher: Tensor, dim: int, tau: float = 1.,
               scale: float = 1.) -> Tensor:
    """Sum of KL(softmax(teacher / tau) || softmax(student / tau)), times ``scale``.

    The softmax runs over ``dim``; the sum runs over everything. The teacher gets no
    gradient and the result can be differentiated once. Half precision input is
    computed in float32.

    Args:
        student: raw scores, any shape.
        teacher: raw scores, same shape.
        dim: the axis of the distributions.
        tau: temperature; its square is not applied, put it into ``scale``.
        scale: factor of the value and the gradient.

    Returns:
        Scalar, float32 (float64 if the student is float64); zero where there is nothing to sum.

    Raises:
        ValueError: if the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(f'student has shape {tuple(student.shape)} but teacher has '
                         f'{tuple(teacher.shape)}: softmax_kl needs equal shapes; resize or '
                         'project the student first')
    wanted = wants_gradient(student)
    with torch.no_grad():
        value, grad = _value_and_gradient(student.detach(), teacher.detach(), dim, tau,
                                          scale, wanted)
    return attach_gradient(student, value, grad)


def _value_and_gradient(student, teacher, dim, tau, scale, wanted):
    """Value (0-d) and gradient (student's shape, or None if not ``wanted``)."""
    dtype = torch.promote_types(student.dtype, torch.float32)
    dim = dim % student.dim()
    outer = math.prod(student.shape[:dim])
    length = student.shape[dim]
    inner = math.prod(student.shape[dim + 1:])
    s3 = student.reshape(outer, length, inner)
    t3 = teacher.reshape(outer, length, inner)
    # Contiguous even if the student is not, so that reshape below is a view.
    grad = student.new_empty(student.shape, dtype=dtype) if wanted else None
    g3 = grad.view(outer, length, inner) if wanted else None
    if not student.numel():
        return student.new_zeros((), dtype=dtype), grad

    limit = CHUNK_BYTES_CPU if student.device.type == 'cpu' else CHUNK_BYTES_DEVICE
    per_column = length * dtype.itemsize
    columns = _even(inner, limit // per_column)
    rows = _even(outer, limit // (per_column * inner)) if columns == inner else 1
    a, b, d = _buffers(student, (rows, length, columns), dtype, not wanted)

    log2e = math.log2(math.e)
    total = student.new_zeros((), dtype=torch.float64)
    for o in range(0, outer, rows):
        for i in range(0, inner, columns):
            part = (slice(o, o + rows), slice(None), slice(i, i + columns))
            s, t = s3[part].to(dtype), t3[part].to(dtype)
            if s.shape != a.shape:  # the last, smaller chunk
                a, b, d = _buffers(student, s.shape, dtype, not wanted)
            if wanted:
                d = g3[part]  # scratch until the gradient is written
            # Powers of two: exp2 is the faster and equally exact exponential.
            torch.sub(s, s.amax(1, keepdim=True), out=a).mul_(log2e / tau)
            torch.sub(t, t.amax(1, keepdim=True), out=b).mul_(log2e / tau)
            # What the teacher rules out (a logit of -inf) has no part in the sum, not 0 * inf.
            torch.sub(b, a, out=d).nan_to_num_(nan=0., posinf=math.inf, neginf=0.)
            sum_s = a.exp2_().sum(1, keepdim=True)
            sum_t = b.exp2_().sum(1, keepdim=True)
            cross = d.mul_(b).sum(1, keepdim=True)
            row = cross.div_(sum_t).add_((sum_s / sum_t).log2_())
            total += row.sum(dtype=torch.float64)
            if wanted:
                a.mul_(sum_s.reciprocal_().mul_(scale / tau))
                b.mul_(sum_t.reciprocal_().mul_(scale / tau))
                torch.sub(a, b, out=d)
    total *= scale / log2e
    return total.to(dtype), grad


def _even(size, limit):
    """The chunk length <= ``limit`` (but >= 1) that cuts ``size`` into near-equal chunks."""
    chunks = math.ceil(size / max(1, limit))
    return math.ceil(size / max(1, chunks))


def _buffers(like, shape, dtype, third):
    """Two work buffers, and a third or None."""
    a, b = (like.new_empty(shape, dtype=dtype) for _ in range(2))
    return a, b, like.new_empty(shape, dtype=dtype) if third else None
