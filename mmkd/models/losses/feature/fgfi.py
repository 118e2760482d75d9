"""FGFI, fine-grained feature imitation (Wang et al., CVPR 2019).

The student imitates the teacher's feature near objects only. A place is near an object if one of
its anchors overlaps the object more than ``phi`` times as much as the best anchor of the map does.
The student's map passes a 3x3 convolution first (``ConvConnector(kernel_size=3)``), followed by a
ReLU in the original.

The original distils one map of stride 16. DeFeat's repository has a form for pyramids, which is
what later papers compare with. The published COCO numbers are those of LD's repository.
"""
import math

import torch
from torch import nn

from mmkd.registry import MODELS

from ..boxes import overlaps, pyramid_levels
from ..closed_form import zero_of
from ..maps import check_levels, nearest_stride, prepare

FORMS = ('original', 'fpn')


@MODELS.register_module()
class FGFILoss(nn.Module):
    """Squared error near objects, averaged over the levels.

    ==========  =======================  ==================================================
    form        divisor of a level       objects of a level
    ==========  =======================  ==================================================
    original    2 * places               all of them
    fpn         2 * places * C, min 1    those of its size: floor(log2(sqrt(area) / 56))
    ==========  =======================  ==================================================

    ``places`` counts the places near objects, of all images. The numerators are sums over
    channels, so the two differ by a factor of C. A level without such places gives zero, where
    the original is 0 / 0.

    Scale per level: a mean over places; in the form 'original' of sums over channels, so it grows
    with C.

    Args:
        phi: what part of the best overlap is near.
        form: see above.
        plus_one: whether overlaps count the last pixel of a box as a part of it, as the original
            does, whose boxes are whole pixels. mmdet's boxes end where they end, and so do those
            of the form for pyramids.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.

    Raises:
        ValueError: if ``form`` is unknown or ``phi`` is not in [0, 1).
    """

    pyramid = True
    chooses_places = True  # a batch may have none
    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, phi=0.5, form='original', plus_one=False):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f'form={form!r}: use one of {FORMS}')
        if not 0 <= phi < 1:
            raise ValueError(f'phi={phi!r}: expected a part of the best overlap, from 0 to below 1')
        self.phi = phi
        self.form = form
        self.plus_one = plus_one

    def forward(self, student, teacher, boxes, padded_size, student_head, strides=None):
        """Return the scalar loss.

        Args:
            student: (N, C, H, W), or a list of these, one per level.
            teacher: (N, C, H', W'), or a list of these.
            boxes: N tensors (n, 4), xyxy in pixels of the padded batch.
            padded_size: (h, w) of the batch.
            student_head: the student's head, whose anchors count.
            strides: of the levels, None for one map, whose stride is then found by its size.

        Raises:
            ValueError: if batch sizes, channels or the numbers of levels differ, or the head has
                no anchors of a level's stride.
        """
        students, teachers = check_levels('FGFILoss', student, teacher, same_channels=True)
        strides = strides or [nearest_stride(x, padded_size) for x in teachers]
        masks = self.masks([x.shape[2:] for x in teachers], boxes, strides, student_head)
        losses = [self.level(*sides) for sides in zip(students, teachers, masks, strict=True)]
        return sum(losses) / len(losses)

    def level(self, student, teacher, mask):
        """One level's loss; ``mask``: (N, H', W') bool, the places near objects."""
        if not mask.any() or not student.numel():
            return zero_of(student)
        student, teacher = prepare(student, teacher)
        places = 2 * mask.sum()
        divisor = places if self.form == 'original' else places * student.shape[1]
        return ((student - teacher).square().sum(1) * mask).sum() / divisor

    @torch.no_grad()
    def masks(self, sizes, boxes, strides, student_head):
        """The places near objects: (N, H, W) bool for each of the levels' ``sizes`` (H, W)."""
        anchors = anchors_of(student_head, sizes, strides)
        masks = [torch.zeros(len(boxes), *size, dtype=torch.bool, device=rows.device)
                 for size, rows in zip(sizes, anchors, strict=True)]
        for image, found in enumerate(boxes):
            levels = pyramid_levels(found, len(sizes))
            for i, mask in enumerate(masks):
                here = found if self.form == 'original' else found[levels == i]
                mask[image] = self.near(anchors[i], here, sizes[i])
        return masks

    def near(self, anchors, boxes, size):
        """(H, W) bool: the places of which an anchor (H*W*A, 4) is near one of ``boxes``."""
        near = anchors.new_zeros(len(anchors), dtype=torch.bool)
        for some in boxes.to(anchors).split(32) if len(anchors) else ():  # a crowd in parts
            iou = overlaps(anchors, some, self.plus_one)
            near |= (iou > self.phi * iou.amax(0)).any(1)
        return near.reshape(*size, len(near) // max(math.prod(size), 1)).any(2)

    def extra_repr(self):
        return f'phi={self.phi}, form={self.form!r}, plus_one={self.plus_one}'


def anchors_of(head, sizes, strides):
    """The anchors of ``head`` (H*W*A, 4) on the levels of these strides.

    Raises:
        ValueError: if it has no level of a stride.
    """
    given = dict(zip(strides, sizes, strict=True))
    missing = [stride for stride in strides if stride not in head.strides]
    if missing:
        raise ValueError(
            f"FGFILoss: the student's head has anchors of strides {list(head.strides)}, none of "
            f'stride {missing[0]}: tap levels that the head reads, or choose with levels=[...]')
    anchors = head.anchors([given.get(stride, (1, 1)) for stride in head.strides])
    return [anchors[list(head.strides).index(stride)] for stride in strides]
