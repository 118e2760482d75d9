"""Boxes on a map (H, W): which cells they cover, and the weights that methods make of that.

A box is (x0, y0, x1, y1), in pixels of the padded batch. All counts are floats: a share
1 / cells never becomes 0 by integer division.
"""
import torch

from .full_precision import wide


def on_map(boxes, image, size):
    """Boxes in cells of a map.

    Args:
        boxes: (n, 4) in pixels.
        image: (h, w), the pixels that the map stands for.
        size: (H, W) of the map.
    """
    y, x = size[0] / image[0], size[1] / image[1]
    boxes = wide(boxes)
    return boxes * boxes.new_tensor([x, y, x, y])


def cell_ranges(boxes, size):
    """The cells of boxes, as FGD draws them: from floor(x0) to ceil(x1), both included.

    A box of zero size has at least the cell it lies in.

    Args:
        boxes: (n, 4) in cells.
        size: (H, W) of the map.

    Returns:
        (n, 4) whole numbers: the ranges [x0, x1) and [y0, y1), clipped to the map. They are
        empty for a box that lies outside it.
    """
    limit = boxes.new_tensor([size[1], size[0]])
    low, high = boxes[:, :2].floor(), boxes[:, 2:].ceil() + 1
    return torch.cat([x.clamp(min=0).minimum(limit) for x in (low, high)], 1)


def truncated_ranges(boxes, stride, size, wrap=False):
    """The cells of boxes as DeFeat draws them: coordinates cut to whole cells, the end excluded.

    A box without width or height on the map has the one cell its corner lies in.

    Args:
        boxes: (n, 4) in pixels.
        stride: pixels of a cell.
        size: (H, W) of the map.
        wrap: what becomes of a box that lies left of or above the map. False: no cells. True, as
            in the official code: its negative end counts from the far side, like a slice's, so
            that it covers much of the map; within one stride of the border it has a cell.

    Returns:
        (n, 4) whole numbers: the ranges [x0, x1) and [y0, y1).
    """
    limit = boxes.new_tensor([size[1], size[0]])
    low = (boxes[:, :2] / stride).trunc().clamp(min=0)
    high = (boxes[:, 2:] / stride).trunc().minimum(limit)
    if wrap:
        point = (low == high).any(1, keepdim=True)
        high = torch.where(high < 0, (high + limit).clamp(min=0), high)
    else:
        outside = (boxes[:, 2:] < 0) | (boxes[:, :2] >= limit * stride)
        point = (low >= high).any(1, keepdim=True) & ~outside.any(1, keepdim=True)
        high = high.maximum(low)
    return torch.cat([low, torch.where(point, low + 1, high)], 1)


def covered(ranges, size):
    """(n, H, W) bool: the cells in each of ``ranges`` (n, 4), which are [x0, x1) and [y0, y1)."""
    rows, columns = (torch.arange(length, device=ranges.device) for length in size)
    x0, y0, x1, y1 = ranges[:, :, None].unbind(1)
    in_row = (rows >= y0) & (rows < y1)
    in_column = (columns >= x0) & (columns < x1)
    return in_row[:, :, None] & in_column[:, None, :]


def areas(ranges):
    """(n,) numbers of cells of ``ranges`` (n, 4)."""
    return (ranges[:, 2:] - ranges[:, :2]).clamp(min=0).prod(1)


def foreground_share(ranges, size, cells=None):
    """(H, W): 1 / cells of the smallest box at each place, 0 where there is no box.

    Args:
        ranges: (n, 4), see :func:`cell_ranges`.
        size: (H, W).
        cells: (n,), what a box's weight is one over; its area by default.
    """
    share = (areas(ranges) if cells is None else cells).clamp(min=1).reciprocal()
    zero = share.new_zeros(())
    drawn = torch.where(covered(ranges, size), share[:, None, None], zero)
    return torch.cat([drawn, zero.expand(1, *size)]).amax(0)


def background_share(foreground):
    """(H, W): 1 / number of background cells at each of them, 0 elsewhere.

    Args:
        foreground: (H, W), 0 where there is no box. Where boxes cover everything, the result is
            0 everywhere.
    """
    background = (foreground == 0).to(foreground.dtype)
    return background / background.sum().clamp(min=1)


def pyramid_levels(boxes, levels, finest_scale=56):
    """The level of a pyramid that each box belongs to, by its size, as RoI heads choose it.

    Level 0 has the boxes below twice ``finest_scale`` pixels (the root of their area), level 1
    those below four times as much, and so on. Sides count pixels, both ends included.

    Args:
        boxes: (n, 4) in pixels.
        levels: number of levels.

    Returns:
        (n,) int64, from 0 to levels - 1.
    """
    sides = (boxes[:, 2:] - boxes[:, :2] + 1).clamp(min=0)
    scale = sides.prod(1).sqrt() / finest_scale
    return (scale + 1e-6).log2().floor().clamp(0, levels - 1).long()


def positives(labels, num_classes):
    """Which assigned labels are a class, and neither background nor ignored; of any shape."""
    return (labels >= 0) & (labels < num_classes)


def overlaps(one, other, plus_one=False):
    """IoU of every box in ``one`` (m, 4) with every box in ``other`` (n, 4): (m, n).

    Args:
        plus_one: whether the last pixel belongs to a box, so that sides are x1 - x0 + 1.
    """
    extra = 1 if plus_one else 0
    low = torch.maximum(one[:, None, :2], other[:, :2])
    high = torch.minimum(one[:, None, 2:], other[:, 2:])
    common = (high - low + extra).clamp(min=0).prod(2)
    area, other_area = ((x[:, 2:] - x[:, :2] + extra).clamp(min=0).prod(1) for x in (one, other))
    union = area[:, None] + other_area - common
    return common / union.clamp(min=1e-6)
