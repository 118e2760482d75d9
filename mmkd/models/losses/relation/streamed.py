"""Row-softmax KL of similarity maps, streamed in tiles.

The map of all pixel pairs is never held: a tile of it is computed, used for the loss
and its gradient, and overwritten. Memory is linear in the number of pixels; value and
gradient are those of the dense formula.

All rows given to this file have norm <= 1, so a similarity divided by tau lies within
+-1 / tau and its exponential can be taken without subtracting a maximum, as long as the
range of the number format allows (:func:`working_dtype`).
"""
import math

import torch
from torch import Tensor

from ..closed_form import attach_gradient, wants_gradient

# Bytes of one work tile; three are alive at a time. They should stay in the cache (H100: 50 MB),
# and on a GPU a product has to fill the device: 2048 x 2048 is 256 blocks of 128 x 128.
TILE_BYTES_CPU = 2 * 1024 * 1024
TILE_BYTES_DEVICE = 16 * 1024 * 1024
LOG2E = math.log2(math.e)


def working_dtype(dtype: torch.dtype, tau: float) -> torch.dtype:
    """float32, or float64 where the input is float64 or exp(1 / tau) needs it.

    Raises:
        ValueError: if even float64 is too narrow.
    """
    exponent = LOG2E / tau
    if exponent > 480:
        raise ValueError(f'temperature {tau}: exp(1 / temperature) leaves the range of float64; '
                         'use a temperature of at least 0.003')
    return torch.float64 if exponent > 56 else torch.promote_types(dtype, torch.float32)


def _tile_bytes(x: Tensor) -> int:
    return TILE_BYTES_CPU if x.device.type == 'cpu' else TILE_BYTES_DEVICE


def bank_kl(student: Tensor, teacher: Tensor, keys: Tensor, tau: float,
            scale: float = 1.) -> Tensor:
    """KL between the similarities of anchors to a bank of keys.

    ``scale`` times the sum over anchors of
    KL(softmax(teacher @ keys.T / tau) || softmax(student @ keys.T / tau)).

    Args:
        student: unit rows (M, C); gets the gradient.
        teacher: unit rows (M, C).
        keys: unit rows (Q, C), constant.
        tau: temperature.
        scale: factor of value and gradient.

    Returns:
        Scalar in :func:`working_dtype`.
    """
    wanted = wants_gradient(student)
    dtype = working_dtype(student.dtype, tau)
    with torch.no_grad(), torch.autocast(student.device.type, enabled=False):
        value, grad = _bank_kl(student.detach().to(dtype), teacher.detach().to(dtype),
                               keys.detach().to(dtype), tau, scale, wanted)
    return attach_gradient(student, value, grad)


def _bank_kl(student, teacher, keys, tau, scale, wanted):
    count, total = len(student), student.new_zeros((), dtype=torch.float64)
    step = max(1, min(count, _tile_bytes(student) // (len(keys) * keys.element_size())))
    scaled = (keys * (LOG2E / tau)).t()
    grad = torch.empty_like(student) if wanted else None
    tiles = [keys.new_empty(step, len(keys)) for _ in range(3)]
    for i in range(0, count, step):
        rows = slice(i, min(i + step, count))
        s, t, gap = (tile[:rows.stop - i] for tile in tiles)
        torch.mm(student[rows], scaled, out=s)
        torch.mm(teacher[rows], scaled, out=t)
        torch.sub(t, s, out=gap)
        sum_s = s.exp2_().sum(1, keepdim=True)
        sum_t = t.exp2_().sum(1, keepdim=True)
        cross = gap.mul_(t).sum(1, keepdim=True).div_(sum_t)
        total += cross.add_((sum_s / sum_t).log2_()).sum(dtype=torch.float64)
        if wanted:
            s.mul_(sum_s.reciprocal_().mul_(scale / tau))
            t.mul_(sum_t.reciprocal_().mul_(scale / tau))
            torch.mm(s.sub_(t), keys, out=grad[rows])
    total *= scale / LOG2E
    return total.to(student.dtype), grad


def self_kl(student: Tensor, teacher: Tensor, tau: float, scale: float = 1.) -> Tensor:
    """KL between the similarities of all pixels of all images with each other.

    For every ordered pair of images (i, j), i = j included, the map of i's pixels (rows)
    against j's pixels (columns) is softmaxed along its rows; the result is ``scale`` times
    the sum of KL(teacher || student) over all rows of all pairs.

    The similarity is symmetric, so a tile serves both (i, j) and (j, i): a first walk over
    the upper triangle finds the row sums, a second one the gradient
    (G + G^T) @ student / tau, where G is the difference of the two softmaxes.

    Args:
        student: unit rows (B, P, Cs), P pixels in each image; gets the gradient.
        teacher: unit rows (B, P, Ct).
        tau: temperature.
        scale: factor of value and gradient.

    Returns:
        Scalar in :func:`working_dtype`.
    """
    wanted = wants_gradient(student)
    dtype = working_dtype(student.dtype, tau)
    with torch.no_grad(), torch.autocast(student.device.type, enabled=False):
        value, grad = _self_kl(student.detach().to(dtype), teacher.detach().to(dtype),
                               tau, scale, wanted)
    return attach_gradient(student, value, grad)


def _self_kl(student, teacher, tau, scale, wanted):
    images, pixels = student.shape[:2]
    # sums[k, r, i, :]: for the pixels of image i as rows against the columns of image r;
    # k = 0 student, 1 teacher, 2 teacher-weighted gap of the logits.
    sums = student.new_zeros((3, images, images, pixels), dtype=torch.float64)
    tiles = _Tiles(student, teacher, tau)
    for i, rows, j, cols, s, t, mirrored in tiles:
        gap = torch.sub(t, s, out=tiles.third(s.shape))
        gap.mul_(t.exp2_())
        for k, x in enumerate((s.exp2_(), t, gap)):
            sums[k, j, i, rows] += x.sum(1)
            if mirrored:
                sums[k, i, j, cols] += x.sum(0)
    sum_s, sum_t, cross = sums
    value = (cross / sum_t + (sum_s / sum_t).log2()).sum() * (scale / LOG2E)
    if not wanted:
        return value.to(student.dtype), None

    grad = torch.zeros_like(student)
    inv_s, inv_t = ((scale / tau / x).to(student.dtype) for x in (sum_s, sum_t))
    for i, rows, j, cols, s, t, mirrored in tiles:
        weight = tiles.third(s.shape)
        for x, inverse in ((s, inv_s), (t, inv_t)):
            torch.add(inverse[j, i, rows, None], inverse[i, j, cols], out=weight)
            x.exp2_().mul_(weight)
        s.sub_(t)
        grad[i, rows].addmm_(s, student[j, cols])
        if mirrored:
            grad[j, cols].addmm_(s.t(), student[i, rows])
    return value.to(student.dtype), grad


class _Tiles:
    """Walks the upper triangle of both similarity maps, in base-2 logits.

    Yields (i, rows, j, cols, s, t, mirrored): the pixels ``rows`` of image i against the
    pixels ``cols`` of image j; ``mirrored`` says that the transposed tile is not visited.
    """

    def __init__(self, student: Tensor, teacher: Tensor, tau: float):
        self.student, self.teacher, self.tau = student, teacher, tau
        self.images, self.pixels = student.shape[:2]
        side = math.isqrt(_tile_bytes(student) // student.element_size())
        self.side = max(1, min(side, self.pixels))
        self.buffers = [student.new_empty(self.side * self.side) for _ in range(3)]

    def third(self, shape: torch.Size) -> Tensor:
        """The work buffer that holds neither s nor t."""
        return self._view(2, shape)

    def _view(self, k, shape):
        return self.buffers[k][:shape[0] * shape[1]].view(shape)

    def __iter__(self):
        spans = [slice(a, min(a + self.side, self.pixels))
                 for a in range(0, self.pixels, self.side)]
        blocks = [(i, span) for i in range(self.images) for span in spans]
        for a, (i, rows) in enumerate(blocks):
            # Scaled here, a block at a time, rather than a second copy of the features.
            s_rows = self.student[i, rows] * (LOG2E / self.tau)
            t_rows = self.teacher[i, rows] * (LOG2E / self.tau)
            for b in range(a, len(blocks)):
                j, cols = blocks[b]
                shape = (rows.stop - rows.start, cols.stop - cols.start)
                s = torch.mm(s_rows, self.student[j, cols].t(), out=self._view(0, shape))
                t = torch.mm(t_rows, self.teacher[j, cols].t(), out=self._view(1, shape))
                yield i, rows, j, cols, s, t, b > a
