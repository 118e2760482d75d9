"""BEV pooling in PyTorch: what kernels are compared with, and what runs where there are none."""
import math

import torch
from torch import Tensor

from .checks import accumulator

# Numbers that the reference gathers at a time: 16 MiB of float32.
_REFERENCE_NUMBERS = 2 ** 22


def bev_pool_reference(depth: Tensor, features: Tensor, ranks_depth: Tensor, ranks_feat: Tensor,
                       starts: Tensor, cells: Tensor) -> Tensor:
    """Sums of depth x feature per cell: gather and index_add, in pieces.

    Args:
        cells: (B, N, D, H, W) cell of each entry of depth, -1 for none, for the gradient alone:
            with ranks of an index, which use an entry at most once and with the feature of its
            own ray, it is found without sorting them.
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


def bev_pool_backward_reference(grad: Tensor, depth: Tensor, features: Tensor, cells: Tensor,
                                pixels: Tensor | None, order: Tensor | None,
                                starts: Tensor | None, need_depth: bool = True,
                                need_features: bool = True) -> tuple[Tensor, Tensor]:
    """Gradients of depth (flat) and of features (F, C); one that is not needed has no rows.

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
        if need_features:
            grad_features.index_add_(0, row, weights[at].to(wide)[:, None] * there)
        if need_depth:
            grad_depth[at] = (there * rows[row].to(wide)).sum(1)
    return grad_depth.to(depth.dtype)[:len(grad_depth) if need_depth else 0], \
        grad_features.to(features.dtype)[:len(rows) if need_features else 0]
