"""BCKD, bridging cross-task protocol inconsistency (Yang et al., ICCV 2023).

Class scores of a dense detector are many binary problems, not one softmax: each is distilled by
itself, weighted by how much student and teacher differ. Boxes are distilled by their overlap.
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..boxes import positives
from .overlaps import giou
from .predictions import (
    check_predictions,
    is_empty,
    level_rows,
    need_sigmoid,
    no_loss,
    quality_bce,
    sizes_of,
)


@MODELS.register_module()
class BCKDLoss(nn.Module):
    """Binary class distillation and IoU-based box distillation at every anchor.

    With s and t the sigmoids of the class scores, n the normaliser of the head's own
    classification loss, sums over the anchors and classes of all images of a level:

    * ``cls``: cls_weight / n * sum of label weight * BCE(s, t) * |s - t| ^ beta.
    * ``loc``: loc_weight / n * sum of label weight * max over classes of |s - t| * (1 - GIoU) of
      the decoded boxes; the weight is without gradient.

    Args:
        cls_weight: factor of ``cls``; 0 leaves the part out.
        loc_weight: factor of ``loc``; likewise.
        beta: exponent of the difference.
        positive_levels_only: as in the official code, a level without a positive in the batch
            gives 0, although the sums are over all anchors. False: every level counts.

    Sizes: maps of student and teacher must be equal, level by level.
    """

    pyramid = True

    def __init__(self, cls_weight=1., loc_weight=4., beta=1., positive_levels_only=True):
        super().__init__()
        self.weights = dict(cls=cls_weight, loc=loc_weight)
        self.beta = beta
        self.positive_levels_only = positive_levels_only

    def forward(self, student, teacher, student_head, teacher_head):
        """Return the dict of those parts whose factor is not 0.

        Args:
            student, teacher (dict): ``cls``, class scores (N, A*K, H, W) per level, and ``reg``,
                what the taps of that name give, (N, A*D, H, W) per level.
            student_head (DenseHead): For the labels and the student's boxes.
            teacher_head (DenseHead): For the teacher's boxes.

        Raises:
            ValueError: if the sides do not fit each other.
        """
        check_predictions('BCKDLoss', student, teacher)
        if is_empty(student):
            return {name: no_loss(student) for name, weight in self.weights.items() if weight}
        parts = self.levels(student, teacher, student_head, teacher_head)
        return {name: sum(values) for name, values in parts.items()}

    def levels(self, student, teacher, student_head, teacher_head):
        """The parts as lists of one value per level."""
        need_sigmoid('BCKDLoss', student_head, teacher_head)
        target = student_head.assign(sizes_of(student['cls']))
        s_cls, t_cls = (level_rows(side['cls'], target.labels) for side in (student, teacher))
        boxes = student_head.decode(student['reg'])
        with torch.no_grad():
            t_boxes = teacher_head.decode(teacher['reg'])
        parts = {name: [] for name, weight in self.weights.items() if weight}
        for i, (labels, stride) in enumerate(zip(target.labels, student_head.strides,
                                                 strict=True)):
            s, t = s_cls[i], t_cls[i].detach()
            positive = positives(labels, student_head.num_classes)
            off = self.positive_levels_only and not positive.any()
            weight = (target.label_weights[i] * (not off) / target.normaliser).to(s.dtype)
            if 'cls' in parts:
                parts['cls'].append(self.weights['cls'] * quality_bce(s, t, weight, self.beta))
            if 'loc' in parts:
                apart = (s.detach().sigmoid() - t.sigmoid()).abs().amax(-1)
                loss = (1 - giou(boxes[i] / stride, t_boxes[i] / stride)) * apart * weight
                parts['loc'].append(self.weights['loc'] * loss.sum())
        return parts

    def extra_repr(self):
        return (f'weights={self.weights}, beta={self.beta}, '
                f'positive_levels_only={self.positive_levels_only}')
