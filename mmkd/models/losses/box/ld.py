"""LD, localization distillation (Zheng et al., CVPR 2022; TPAMI 2023).

For detectors that predict, for each side of a box, a distribution over bins (GFL): the student's
distributions follow the teacher's where it learns boxes (main LD), and in a region around them
(valuable region, VLR); its class scores follow at the positives.
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..boxes import positives
from ..maps import need_taps
from .overlaps import area, centre_distance, intersection, iou
from .predictions import (
    check_predictions,
    divergence,
    is_empty,
    level_rows,
    no_loss,
    sizes_of,
)

DIOUS = ('anchor_area', 'union')


@MODELS.register_module()
class LDLoss(nn.Module):
    """KL of the box distributions at positives and in the valuable region, and of the classes.

    With KL summed over 4 sides and averaged over the bins, per level, all levels added up:

    * ``ld``: main_weight / 4 * tau^2 * sum over positives of w * KL, where w is the student's
      highest class score, without gradient.
    * ``ld_vlr``: vlr_weight / 16 * vlr_tau^2 * sum over the region of v * KL, where v is the
      anchor's IoU with the box. An anchor is in the region of a box if its DIoU with it is at
      least a quarter of the box's threshold and below it; the threshold is mean plus standard
      deviation of the IoUs of the ``topk`` anchors of each level whose centres are nearest.
    * ``kd``: cls_weight * cls_tau^2 * mean over the level's positives of the KL of the softmaxes
      over the class scores, averaged over the classes.

    The first two are sums, not divided by anything: they grow with the images on a GPU, of which
    the authors use at most 3. A level without positives gives 0 for the first and the last. An
    image without boxes has no region (the official code fails there). The official code's KD in
    the valuable region is multiplied by 0 and left out here; its imitation of features is another
    term's.

    Args:
        main_weight: factor of ``ld``; 0 leaves the part out, as it does for the other two.
        tau: its temperature.
        vlr_weight: factor of ``ld_vlr``; mmdet 3 has neither this part nor the next.
        vlr_tau: its temperature.
        cls_weight: factor of ``kd``.
        cls_tau: its temperature.
        topk: candidates per level and box for the threshold; that of the ATSS assigner.
        diou: 'anchor_area' is what the official code computes and what its numbers were trained
            with: it divides the intersection by the area of the anchor instead of the union, so
            that the region is wider than the paper's. 'union' is the paper's DIoU.

    Sizes: maps of student and teacher must be equal, level by level.

    Raises:
        ValueError: if ``diou`` is unknown.
    """

    pyramid = True

    def __init__(self, main_weight=0.25, tau=10., vlr_weight=0.25, vlr_tau=10., cls_weight=10.,
                 cls_tau=2., topk=9, diou='anchor_area'):
        super().__init__()
        if diou not in DIOUS:
            raise ValueError(f'LDLoss: diou={diou!r} is none of {", ".join(map(repr, DIOUS))}')
        self.weights = dict(ld=main_weight, ld_vlr=vlr_weight, kd=cls_weight)
        self.tau, self.vlr_tau, self.cls_tau = tau, vlr_tau, cls_tau
        self.topk, self.diou = topk, diou

    def forward(self, student, teacher, student_head, boxes):
        """Return the dict of those parts whose factor is not 0.

        Args:
            student, teacher (dict): ``cls``, class scores (N, K, H, W) per level, and ``reg``,
                logits of the bins (N, 4*B, H, W) per level.
            student_head (DenseHead): For the labels and anchors.
            boxes (list): (n, 4) xyxy in pixels, per image.

        Raises:
            ValueError: if the sides do not fit each other, or there are no distributions.
        """
        need_taps('LDLoss', 'student', student, ('cls', 'reg'))
        check_predictions('LDLoss', student, teacher,
                          ('cls', 'reg') if self.weights['kd'] else ('reg',))
        if is_empty(student):
            return {name: no_loss(student) for name, weight in self.weights.items() if weight}
        parts = self.levels(student, teacher, student_head, boxes)
        return {name: sum(values) for name, values in parts.items()}

    def levels(self, student, teacher, student_head, boxes):
        """The parts as lists of one value per level."""
        if student_head.kind != 'distributions':
            raise ValueError(
                f'LDLoss compares distributions over the bins of a side, which {student_head.name} '
                'does not predict: use it with GFL (mmdet.GFLHead, mmdet.LDHead)')
        sizes = sizes_of(student['cls'])
        target = student_head.assign(sizes)
        cls, reg, t_reg = (level_rows(maps, target.labels) for maps in
                           (student['cls'], student['reg'], teacher['reg']))
        region = [None] * len(sizes)
        if self.weights['ld_vlr']:
            valid = [weight > 0 for weight in target.label_weights]
            region = self.valuable_region(student_head.anchors(sizes), valid, boxes)
        parts = {name: [] for name, weight in self.weights.items() if weight}
        t_cls = level_rows(teacher['cls'], target.labels) if 'kd' in parts else None
        for i, labels in enumerate(target.labels):
            positive = positives(labels, student_head.num_classes)
            if 'ld' in parts:
                score = cls[i].detach().sigmoid().amax(-1)
                parts['ld'].append(self.weights['ld'] / 4 * self.box_kl(
                    reg[i], t_reg[i], score * positive, self.tau))
            if 'ld_vlr' in parts:
                parts['ld_vlr'].append(self.weights['ld_vlr'] / 16 * self.box_kl(
                    reg[i], t_reg[i], region[i].to(reg[i].dtype), self.vlr_tau))
            if 'kd' in parts:
                kl = divergence(cls[i][positive], t_cls[i][positive], self.cls_tau)
                kl = (kl * target.label_weights[i][positive]).sum() / positive.sum().clamp(min=1)
                parts['kd'].append(
                    self.weights['kd'] * self.cls_tau ** 2 / cls[i].shape[-1] * kl)
        return parts

    @staticmethod
    def box_kl(student, teacher, weight, tau):
        """Weighted sum over rows (N, P, 4*B) of tau^2 times KL, 4 sides added, bins averaged."""
        used = weight > 0
        student, teacher = (x[used].unflatten(-1, (4, -1)) for x in (student, teacher))
        kl = divergence(student, teacher, tau).sum(-1) * weight[used]
        return tau ** 2 / student.shape[-1] * kl.sum()

    @torch.no_grad()
    def valuable_region(self, anchors, valid, boxes):
        """Weights of the valuable region: (N, P) per level, 0 outside it.

        Args:
            anchors (list): (P, 4) per level.
            valid (list): (N, P) bool per level, which anchors take part.
            boxes (list): (n, 4) per image.
        """
        counts = [len(level) for level in anchors]
        anchors, valid = torch.cat(anchors), torch.cat(valid, 1)
        weights = anchors.new_zeros(valid.shape)
        for image, truth in enumerate(boxes):
            inside = valid[image]
            if len(truth) and inside.any():
                of_level = [int(level.sum()) for level in inside.split(counts)]
                weights[image, inside] = self.region_of_image(
                    anchors[inside], of_level, truth.to(anchors.dtype))
        return weights.split(counts, 1)

    def region_of_image(self, anchors, counts, boxes):
        """(P,): the best IoU among the boxes (n, 4) whose region an anchor (P, 4) is in, or 0."""
        anchors, boxes = anchors[:, None], boxes[None]
        overlap, common = iou(anchors, boxes), intersection(anchors, boxes)
        divided = overlap if self.diou == 'union' else common / area(anchors).clamp(min=1e-6)
        diou = divided - centre_distance(anchors, boxes)
        apart = (anchors[..., :2] + anchors[..., 2:] - boxes[..., :2] - boxes[..., 2:]) / 2
        distance = apart.square().sum(-1).sqrt()
        candidates = torch.cat([
            level.gather(0, far.topk(min(self.topk, len(far)), dim=0, largest=False)[1])
            for level, far in zip(overlap.split(counts), distance.split(counts), strict=True)])
        # of a single candidate the deviation is NaN: nothing is in the region
        threshold = candidates.mean(0) + candidates.std(0)
        within = (diou < threshold) & (diou >= 0.25 * threshold)
        return overlap.masked_fill(~within, 0).amax(1)

    def extra_repr(self):
        return (f'weights={self.weights}, tau={self.tau}, vlr_tau={self.vlr_tau}, '
                f'cls_tau={self.cls_tau}, topk={self.topk}, diou={self.diou!r}')
