"""Rotated boxes on a bird's-eye-view map: which cells they cover, and which box it is."""
from typing import NamedTuple

import torch
from torch import Tensor

from .batches import join, join_samples
from .checks import (
    FLOATING,
    INDEX,
    accumulated,
    check_choice,
    check_floats,
    check_integers,
    check_number,
    check_same_device,
    check_tensor,
)

OP = 'boxes_to_bev_mask'


class BEVMask(NamedTuple):
    """Boxes on a map of B samples, Y x X cells. Rows are y, columns x.

    Attributes:
        mask: (B, Y, X) bool, whether a box covers the cell.
        instance: (B, Y, X) int64, the first box (lowest index) that does, -1 where none.
        label: (B, Y, X) int64, the label of that box, -1 where none; None without labels.
    """
    mask: Tensor
    instance: Tensor
    label: Tensor | None

    def paint(self, values, background=0.):
        """The value of the first box over each cell.

        Args:
            values: (K, ...) any dtype; no gradient passes to them.
            background: what a cell without a box gets.

        Returns:
            Tensor: (B, Y, X, ...) of the dtype of ``values``.
        """
        return _painted(self.instance, values, background)


def _painted(instance, values, background):
    values = values.detach()
    # The background is the row behind the last box, which index -1 finds.
    return torch.cat([values, values.new_full((1, *values.shape[1:]), background)])[instance]


def bev_mask_reference(boxes: Tensor, batch_index: Tensor | None, xs: Tensor, ys: Tensor,
                       batch_size: int) -> Tensor:
    """First box over each cell; ``boxes`` are (x, y, half dx, half dy, cos yaw, sin yaw)."""
    count, cells = len(boxes), len(xs) * len(ys)
    first = torch.full((batch_size, cells), count, device=boxes.device)
    if batch_index is None:
        batch_index = torch.zeros(count, dtype=torch.int64, device=boxes.device)
    known = (batch_index >= 0) & (batch_index < batch_size)
    sample = torch.where(known, batch_index, 0)
    step = max(1, 2 ** 22 // max(1, cells)) if batch_size else count + 1
    for begin in range(0, count if batch_size else 0, step):  # bounds the memory
        x, y, half_x, half_y, cos, sin = (
            v[:, None, None] for v in boxes[begin:begin + step].unbind(1))
        shift_x, shift_y = xs - x, ys[:, None] - y
        along, across = shift_x * cos + shift_y * sin, shift_y * cos - shift_x * sin
        inside = (along > -half_x) & (along < half_x) & (across > -half_y) & (across < half_y)
        inside = inside.flatten(1) & known[begin:begin + step, None]
        index = torch.arange(begin, begin + len(x), device=boxes.device)[:, None]
        first.scatter_reduce_(0, sample[begin:begin + step, None].expand(-1, cells),
                              torch.where(inside, index, count), 'amin')
    return torch.where(first < count, first, -1).view(batch_size, len(ys), len(xs))


_bev_mask = torch.library.custom_op('mmkd::bev_mask', bev_mask_reference, mutates_args=())


@_bev_mask.register_fake
def _(boxes, batch_index, xs, ys, batch_size):
    return boxes.new_empty(batch_size, ys.shape[0], xs.shape[0], dtype=torch.int64)


def _join_values(name, parts, dtypes, counts):
    """One tensor of a list with the values of the boxes of each sample."""
    joined = join(OP, name, parts, ('K',), dtypes)
    if [len(part) for part in parts] != counts:
        raise ValueError(f'{OP}: {name} must have one entry for each box, but the samples have '
                         f'{counts} boxes and {[len(part) for part in parts]} {name}')
    return joined


def _join_boxes(boxes, batch_index, batch_size, labels, scale):
    """(K, C) boxes, their batch index or None, the batch size, labels and scale."""
    if isinstance(boxes, (list, tuple)):
        joined, batch_index, batch_size = join_samples(OP, 'boxes', boxes, ('K', 'C'),
                                                       batch_index, batch_size)
        counts = [len(part) for part in boxes]
        if labels is not None:
            labels = _join_values('labels', labels, INDEX, counts)
        if isinstance(scale, (list, tuple)):
            scale = _join_values('scale', scale, FLOATING, counts)
        return joined, batch_index, batch_size, labels, scale
    return *join_samples(OP, 'boxes', boxes, ('K', 'C'), batch_index, batch_size), labels, scale


def _footprints(boxes, scale):
    """(K, 6) x, y, half dx, half dy, cos yaw, sin yaw; a half size of 0 for no proper box."""
    boxes = accumulated(boxes.detach())
    half = boxes[:, 3:5]
    if isinstance(scale, Tensor):
        check_tensor(OP, 'scale', scale, (len(boxes),))
        check_same_device(OP, boxes=boxes, scale=scale)
        half = half * scale.detach().to(boxes.dtype)[:, None]
    elif scale is not None:
        half = half * check_number(OP, 'scale', scale)
    half = half / 2
    where, yaw = boxes[:, :2], boxes[:, 6:7]
    proper = torch.cat([where, half, yaw], 1).isfinite().all(1, keepdim=True)
    return torch.cat([where, torch.where(proper, half, 0), yaw.cos(), yaw.sin()], 1)


def _positions(low, high, cells, offset, like):
    """Where the cells along one axis are tested, (cells,)."""
    steps = torch.arange(cells, dtype=torch.float64, device=like.device) + offset
    return (steps * ((high - low) / cells) + low).to(like.dtype)


def boxes_to_bev_mask(boxes, point_cloud_range, grid_size, batch_index=None, batch_size=None,
                      at='center', scale=None, labels=None):
    """Rotated boxes -> cells of a bird's-eye-view map.

    A cell belongs to a box if the tested point lies strictly inside its footprint: neither on
    its edge, nor ever in a box of zero or negative size. A box whose x, y, dx, dy or yaw is
    NaN or infinite covers nothing. z and dz are not looked at.

    Args:
        boxes: (K, C >= 7) floating: x, y, z, dx, dy, dz, yaw in metres and radians, as in
            mmdet3d >= 1.0: LiDAR frame, yaw counter-clockwise, dx along the heading. Or a list
            with one such tensor per sample, any of them empty; indices then count through
            the list.
        point_cloud_range: (x_min, y_min, z_min, x_max, y_max, z_max) in metres.
        grid_size: (X, Y) cells over the range's extent along x and y.
        batch_index: (K,) sample of each box.
        batch_size: number of samples; by default one more than the largest index.
        at: where a cell is tested: 'center', or 'corner', the one with the lowest x and y
            (DistillBEV).
        scale: enlarges dx and dy: a number, or a (K,) tensor (a list of them, with a list of
            boxes).
        labels: (K,) integers, or a list of them with a list of boxes.

    Returns:
        BEVMask: ``mask``, ``instance`` and ``label``, each (B, Y, X). DistillBEV's scale of
        the foreground is ``.paint((cell_area / (dx * dy)).sqrt())``.

    Raises:
        ValueError: wrong shapes, dtypes or devices, an empty range, a grid without a cell, a
            batch index outside the batch, an unknown ``at``.
    """
    check_choice(OP, 'at', at, ('center', 'corner'))
    boxes, batch_index, batch_size, labels, scale = _join_boxes(boxes, batch_index, batch_size,
                                                                labels, scale)
    if boxes.shape[1] < 7:
        raise ValueError(f'{OP}: boxes must have at least the columns x, y, z, dx, dy, dz, yaw, '
                         f'but their shape is {tuple(boxes.shape)}')
    grid_size = check_integers(OP, 'grid_size', grid_size, 'XY')
    bounds = check_floats(OP, 'point_cloud_range', point_cloud_range, 6)
    offset = 0.5 if at == 'center' else 0.
    positions = []
    for axis, name in enumerate('xy'):
        if not bounds[axis + 3] > bounds[axis]:
            raise ValueError(f'{OP}: point_cloud_range goes from {bounds[axis]} to '
                             f'{bounds[axis + 3]} along {name}')
        like = accumulated(boxes.new_empty(0))
        positions.append(_positions(bounds[axis], bounds[axis + 3], grid_size[axis], offset,
                                    like))
    if labels is not None:
        check_tensor(OP, 'labels', labels, (len(boxes),), INDEX)
        check_same_device(OP, boxes=boxes, labels=labels)
    instance = _bev_mask(_footprints(boxes, scale), batch_index, *positions, batch_size)
    label = None if labels is None else _painted(instance, labels.long(), -1)
    return BEVMask(instance >= 0, instance, label)
