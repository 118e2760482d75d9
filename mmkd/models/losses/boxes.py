"""Boxes on a map (H, W): which cells they cover, and the weights that methods make of that.

A box is (x0, y0, x1, y1), in pixels of the padded batch. All counts are floats: a share
1 / cells never becomes 0 by integer division.
"""
import torch


def on_map(boxes, image, size):
    """Boxes in cells of a map.

    Args:
        boxes: (n, 4) in pixels.
        image: (h, w), the pixels that the map stands for.
        size: (H, W) of the map.
    """
    y, x = size[0] / image[0], size[1] / image[1]
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
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
