"""CrossKD, cross-head knowledge distillation (Wang et al., CVPR 2024).

The student's features run through the rest of the teacher's head (``CrossHeadConnector``), and
what comes out follows the teacher's own predictions. The student's own predictions learn from the
labels alone, so the two targets do not pull at the same layers.

Written from a description of the method: the official code has a non-commercial licence.
"""
import torch
import torch.nn.functional as F
from torch import nn

from mmkd.registry import MODELS

from ..boxes import positives
from .overlaps import giou, iou
from .predictions import (
    check_predictions,
    divergence,
    is_empty,
    level_rows,
    need_sigmoid,
    no_loss,
    quality_bce,
    sizes_of,
)

BOXES = dict(distributions='kl', anchors='giou', points='iou')


@MODELS.register_module()
class CrossKDLoss(nn.Module):
    """Cross-head class scores, boxes and centerness against the teacher's.

    With n the normaliser that the student's head trains with (of FCOS: the sum of its centerness
    targets, averaged over processes), and w the teacher's highest class score, 0 where the label
    weight is 0; sums over all anchors of all images and levels:

    * ``cls``: cls_weight / n * sum of label weight * BCE * |difference of sigmoids| ^ beta.
    * ``reg``: reg_weight * sum of w * distance, where the distance is

      * 'kl' (GFL): tau^2 * KL of the distributions, averaged over 4 sides; / sum of w;
      * 'giou' (RetinaNet, ATSS): 1 - GIoU of the decoded boxes; / n;
      * 'iou' (FCOS): -log IoU; / n.

    * ``centerness``, if the teacher's is tapped (ATSS): centerness_weight / n * sum over the
      positives of the binary cross-entropy.

    Published: cls, reg weights of 1, 4 (GFL), 1, 1 (RetinaNet), 0.4, 0.75 (FCOS), 1, 1 and
    centerness 1 (ATSS).

    Args:
        cls_weight: factor of ``cls``; 0 leaves the part out.
        reg_weight: factor of ``reg``; likewise.
        centerness_weight: factor of ``centerness``; likewise.
        beta: exponent of the difference of sigmoids.
        boxes: 'kl', 'giou' or 'iou'; by default what fits the head.
        tau: temperature of 'kl'.
        min_normaliser: smallest n. The official code divides by 1e-6 where FCOS has no positive
            in a batch, which gives a loss of about 1e7; for the other heads n is at least 1.

    Sizes: maps of student and teacher must be equal, level by level.

    Raises:
        ValueError: if ``boxes`` is unknown.
    """

    pyramid = True

    def __init__(self, cls_weight=1., reg_weight=1., centerness_weight=1., beta=1., boxes=None,
                 tau=1., min_normaliser=1.):
        super().__init__()
        if boxes not in (None, *BOXES.values()):
            raise ValueError(f'CrossKDLoss: boxes={boxes!r} is none of '
                             f'{", ".join(map(repr, BOXES.values()))}')
        self.weights = dict(cls=cls_weight, reg=reg_weight, centerness=centerness_weight)
        self.beta, self.boxes, self.tau, self.min_normaliser = beta, boxes, tau, min_normaliser

    def forward(self, student, teacher, student_head, teacher_head):
        """Return the dict of those parts whose factor is not 0.

        Args:
            student (dict): What CrossHeadConnector gives: ``cls`` (N, A*K, H, W) per level,
                ``reg`` (N, A*D, H, W) and, if the head has it, ``centerness`` (N, A, H, W).
            teacher (dict): The teacher's own predictions by the same names.
            student_head (DenseHead): For the labels.
            teacher_head (DenseHead): For the boxes of both sides.

        Raises:
            ValueError: if the sides do not fit each other.
        """
        names = self._names(teacher)
        check_predictions('CrossKDLoss', student, teacher, names)
        if is_empty(student):
            return {name: no_loss(student) for name in names if self.weights[name]}
        parts = self.levels(student, teacher, student_head, teacher_head)
        return {name: sum(values) for name, values in parts.items()}

    def _names(self, teacher):
        return [name for name in self.weights
                if name != 'centerness' or (isinstance(teacher, dict) and name in teacher)]

    def levels(self, student, teacher, student_head, teacher_head):
        """The parts as lists of one value per level."""
        need_sigmoid('CrossKDLoss', student_head, teacher_head)
        target = student_head.assign(sizes_of(student['cls']))
        normaliser = target.normaliser if target.box_normaliser is None else target.box_normaliser
        normaliser = normaliser.clamp(min=self.min_normaliser)
        s_cls, t_cls = (level_rows(side['cls'], target.labels) for side in (student, teacher))
        scores = [t.detach().sigmoid().amax(-1) * (weight > 0)
                  for t, weight in zip(t_cls, target.label_weights, strict=True)]
        parts = {}
        if self.weights['cls']:
            parts['cls'] = [
                self.weights['cls'] / normaliser * quality_bce(s, t, weight, self.beta)
                for s, t, weight in zip(s_cls, t_cls, target.label_weights, strict=True)]
        if self.weights['reg']:
            kind = self.boxes or BOXES[teacher_head.kind]
            distances = self._distances(kind, student['reg'], teacher['reg'], target, teacher_head)
            total = sum(score.sum() for score in scores)
            divisor = (total.clamp(min=torch.finfo(total.dtype).tiny) if kind == 'kl'
                       else normaliser)
            parts['reg'] = [self.weights['reg'] * (distance * (score / divisor)).sum()
                            for distance, score in zip(distances, scores, strict=True)]
        if 'centerness' in self._names(teacher) and self.weights['centerness']:
            parts['centerness'] = []
            levels = (level_rows(side['centerness'], target.labels)
                      for side in (student, teacher))
            for labels, s, t in zip(target.labels, *levels, strict=True):
                positive = positives(labels, student_head.num_classes)
                loss = F.binary_cross_entropy_with_logits(
                    s[positive], t[positive].detach().sigmoid(), reduction='sum')
                parts['centerness'].append(self.weights['centerness'] / normaliser * loss)
        return parts

    def _distances(self, kind, student, teacher, target, head):
        """How far the boxes of each anchor are apart: (N, P) per level."""
        if kind == 'kl':
            student, teacher = (level_rows(side, target.labels) for side in (student, teacher))
            if student[0].shape[-1] == 4:
                raise ValueError(f"CrossKDLoss: boxes='kl' compares distributions, and {head.name} "
                                 "predicts one number for each side of a box: use 'giou'")
            return [self.tau ** 2 * divergence(
                s.unflatten(-1, (4, -1)), t.unflatten(-1, (4, -1)), self.tau).mean(-1)
                for s, t in zip(student, teacher, strict=True)]
        with torch.no_grad():
            teacher = head.decode(teacher)
        pairs = zip(head.decode(student), teacher, strict=True)
        if kind == 'giou':
            return [1 - giou(s, t) for s, t in pairs]
        return [-iou(s, t).clamp(min=1e-6).log() for s, t in pairs]

    def extra_repr(self):
        return (f'weights={self.weights}, beta={self.beta}, boxes={self.boxes!r}, '
                f'tau={self.tau}, min_normaliser={self.min_normaliser}')
