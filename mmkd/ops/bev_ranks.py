"""Ranks and intervals, as BEVDet gives them to ``bev_pool_v2``: are they what they must be?"""
import torch
from torch import Tensor

from .checks import INDEX, check_ranges, check_tensor


def check_like(op, name, values, like):
    """Refuse what is not an index of the shape of ``like``; what is one is seen at a glance."""
    if torch.compiler.is_compiling() or not (
            isinstance(values, Tensor) and values.layout == torch.strided
            and values.dtype == like.dtype and values.shape == like.shape):
        check_tensor(op, name, values, tuple(like.shape), INDEX)


def find_starts(ranks_depth: Tensor, ranks_feat: Tensor, ranks_bev: Tensor,
                interval_starts: Tensor, interval_lengths: Tensor, depths: int, pixels: int,
                cells: int) -> tuple[Tensor, Tensor]:
    """(cells + 1,) first rank of each cell, and (1,) int32: 1 where anything is wrong.

    Five tensors of one dtype. Wrong are ranks outside [0, depths), [0, pixels) and [0, cells),
    ranks_bev that is not sorted, and intervals that are not those of ranks_bev.
    """
    cell = torch.arange(cells + 1, device=ranks_bev.device, dtype=ranks_bev.dtype)
    starts = torch.searchsorted(ranks_bev, cell)
    inside = [((ranks >= 0) & (ranks < high)).all() for ranks, high in
              ((ranks_depth, depths), (ranks_feat, pixels), (ranks_bev, cells))]
    counts = starts.diff()
    held = counts > 0
    right = torch.stack([*inside, (ranks_bev.diff() >= 0).all()]).all() and \
        torch.equal(starts[:-1][held], interval_starts.long()) and \
        torch.equal(counts[held], interval_lengths.long())
    wrong = torch.full((1,), not right, dtype=torch.int32, device=ranks_bev.device)
    return starts.to(ranks_bev.dtype), wrong


def refuse_ranks(op, ranks_depth, ranks_feat, ranks_bev, interval_starts, interval_lengths,
                 depths, pixels, cells):
    """Say what is wrong with ranks that :func:`find_starts` calls wrong."""
    check_ranges(op, ('ranks_depth', ranks_depth, 0, depths),
                 ('ranks_feat', ranks_feat, 0, pixels), ('ranks_bev', ranks_bev, 0, cells))
    if (ranks_bev.diff() < 0).any():
        raise ValueError(f'{op}: ranks_bev must be sorted')
    raise ValueError(f'{op}: interval_starts and interval_lengths must be those of '
                     f'ranks_bev, which holds {len(ranks_bev.unique())} cells in '
                     f'{len(ranks_bev)} points; given are {len(interval_starts)} intervals over '
                     f'{int(interval_lengths.sum())} points')
