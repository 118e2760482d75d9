"""Where DistillBEV compares: inside boxes, outside, and where detectors see what is not there.

Maps are (B, Y, X). All of it is computed on the maps' device.
"""
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from mmkd.ops import boxes_to_bev_mask

FALSE_POSITIVES = ('none', 'teacher', 'student', 'teacher_selected_student',
                   'teacher+teacher_selected_student')


class Regions(NamedTuple):
    """Of B samples, each (B, Y, X) float32.

    Attributes:
        foreground: 1 where a box covers the cell's lower corner, context_weight around boxes.
        fg_scale: sqrt(cell's area / footprint) of the first box there, 0 elsewhere.
        bg_scale: 1 / number of cells without a box; 0 if there are none.
    """
    foreground: torch.Tensor
    fg_scale: torch.Tensor
    bg_scale: torch.Tensor


@torch.no_grad()
def box_regions(boxes, bev_range, size, context_length=0., context_weight=0.):
    """The Regions of boxes (list of (K, 7 or more)) on a map of ``size`` (Y, X) that covers
    ``bev_range`` (x_min, y_min, x_max, y_max) in metres."""
    x_min, y_min, x_max, y_max = map(float, bev_range)
    grid = ((x_min, y_min, -1., x_max, y_max, 1.), (size[1], size[0]))
    width, height = (x_max - x_min) / size[1], (y_max - y_min) / size[0]
    found = boxes_to_bev_mask(boxes, *grid, at='corner')
    # A box of no size covers nothing, but its context may.
    share = width * height / torch.cat(
        [one[:, 3:5] for one in boxes]).float().prod(1).clamp(min=1e-6)
    foreground, fg_scale = found.mask.float(), found.paint(share.sqrt())
    if context_length > 0 and context_weight > 0:
        grown = [torch.cat([one[:, :3], one[:, 3:5] + context_length * width, one[:, 5:]], 1)
                 for one in boxes]
        around = boxes_to_bev_mask(grown, *grid, at='corner')
        foreground = torch.maximum(foreground, around.mask * context_weight)
        fg_scale = torch.where(around.mask, around.paint(share), fg_scale)
    return Regions(foreground, fg_scale, share_of(count_of(foreground == 0)).expand(
        foreground.shape))


def count_of(mask):
    """(B, Y, X) to (B, 1, 1), the sum of each sample."""
    return mask.sum((1, 2), keepdim=True, dtype=torch.float32)


def share_of(count):
    """1 / count, 0 where it is not positive."""
    return torch.where(count > 0, 1 / count, 0)


@torch.no_grad()
def false_positives(mode, foreground, gt, teacher, student, output_threshold, gt_threshold):
    """(B, Y, X) bool, cells that a network takes for an object where there is none.

    Maps of other sizes are pooled by their maximum, or repeated: what the student sees and what
    is there to the teacher's heatmap, and the result to the foreground.

    Args:
        mode: one of FALSE_POSITIVES, not 'none'.
        foreground: (B, Y, X), not 0 where there are boxes.
        gt: (B, K, Y', X') in [0, 1], the Gaussians of the boxes.
        teacher, student: (B, K, Y'', X''), logits.
        output_threshold: what a network has to say for it to be an object.
        gt_threshold: below it, there is none.
    """
    teacher, student = (x.float().sigmoid().clamp(1e-4, 1 - 1e-4).amax(1, keepdim=True)
                        for x in (teacher, student))
    student, gt = (_fitted(x, teacher.shape[2:])
                   for x in (student, gt.float().amax(1, keepdim=True)))
    of_teacher, of_student = teacher > output_threshold, student > output_threshold
    selected = of_student & (teacher < gt_threshold)
    wrong = {'teacher': of_teacher, 'student': of_student, 'teacher_selected_student': selected,
             'teacher+teacher_selected_student': of_teacher | selected}[mode]
    wrong = wrong & (gt < gt_threshold)
    return (_fitted(wrong.float(), foreground.shape[1:])[:, 0] > 0) & (foreground == 0)


def _fitted(x, size):
    """The maximum of the cells under each cell: those of an integer ratio, or one repeated."""
    return x if x.shape[2:] == size else F.adaptive_max_pool2d(x, tuple(size))


def component_sizes(mask):
    """(B, Y, X) bool to (B, Y, X) int64: the size of the component (of neighbours in x and y)
    that a cell belongs to, 1 outside.

    Components that touch are joined, each to its neighbour of the lowest number. In two rounds
    each one is joined with another at least, so that half of them are left, as many rounds suffice
    as are made here, and nobody has to look whether they did.
    """
    batch, height, width = mask.shape
    cells = height * width
    doublings = max(math.ceil(math.log2(cells)), 1)
    nobody = torch.arange(cells + 1, device=mask.device).expand(batch, -1)
    parent = torch.where(F.pad(mask.flatten(1), (0, 1)), nobody, cells)
    for turn in range(2 * doublings):
        padded = F.pad(parent[:, :-1].view(batch, height, width), (1, 1, 1, 1), value=cells)
        lowest = torch.stack([padded[:, 1:-1, :-2], padded[:, 1:-1, 2:], padded[:, :-2, 1:-1],
                              padded[:, 2:, 1:-1]]).amin(0)
        lowest = torch.where(mask, lowest, cells).flatten(1)
        joined = nobody.scatter_reduce(1, parent[:, :-1], lowest, 'amin')
        for _ in range(doublings - turn // 2):  # a chain is no longer than there are components
            joined = joined.gather(1, joined)
        parent = joined.gather(1, parent)
    sizes = torch.zeros_like(parent).scatter_add_(1, parent, torch.ones_like(parent))
    sizes = sizes.gather(1, parent)[:, :-1].view(batch, height, width)
    return torch.where(mask, sizes, 1)
