"""The sparse part of BEVDistill (Chen et al., "BEVDistill: Cross-Modal BEV Distillation for
Multi-View 3D Object Detection", ICLR 2023): boxes of the queries of two DETR-like detectors."""
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..full_precision import full_precision, wide
from ..maps import need_taps, ratio

#: codes of a box that queries are matched by; what follows is the velocity
MATCHED_CODES = 8


@MODELS.register_module()
class BEVDistillSparseLoss(nn.Module):
    """Boxes of the student's queries against the best boxes of the teacher, for each decoder stage.

    mmdet3d has no detector with such queries on its own: this is a loss for heads of yours (DETR3D,
    PETR, BEVFormer, Object DGCNN and the like). The taps are called ``cls`` and ``boxes`` and must
    give class logits and box codes of all queries: cx, cy, log w, log l, cz, log h, sin yaw,
    cos yaw, vx, vy, in metres, radians and m/s, cx, cy and cz of the middle of the box. Both
    sides must mean the same by w and l, yaw and cz.

    Of the teacher's last stage the ``max_num`` queries with the highest score of a class are
    known, with all their scores as soft labels. In each stage the student's queries are matched
    with them, one to one, at the least cost: ``cls_cost`` times the binary cross-entropy with the
    soft label, summed over classes, and ``box_cost`` times the L1 distance of the first eight
    codes. With q the highest score of a teacher's query,

    * 'box': ``bbox_weight`` times the sum over matched queries of q^2 |S - T|, weighted by
      ``code_weights``, divided by the sum of q: over all samples, added up over the stages. (The
      official code multiplies by q in two places.)
    * 'cls', if its weight is not 0: ``cls_weight`` times the binary cross-entropy with the soft
      labels, summed, divided by the number of matched queries. Released is 0, for which the
      official labels of queries without a match, ``num_classes`` in every class, do no harm.

    Without a known query both are 0, and the official code's 0 / 0, set to 0. Queries of the
    teacher that are not finite (a box of no size) are not known.

    Args:
        bbox_weight: of 'box'.
        cls_weight: of 'cls'.
        max_num: queries of the teacher that are known in each sample. The official file says 100
            in its name, the code keeps 50.
        cls_cost, box_cost: see above.
        score_reweight: whether q weighs; False: |S - T|, divided by the number of matches.
        code_weights: of the codes of a box.
        unmatched_label: in 'cls', the label of all classes of a query without a match. None: such
            queries do not count. The official code's is the number of classes, 10.

    Sizes: none; the numbers of queries may differ, those of classes and codes may not.
    """

    pyramid = True  # all stages at once

    def __init__(self, bbox_weight=0.25, cls_weight=0., max_num=50, cls_cost=1., box_cost=0.25,
                 score_reweight=True, code_weights=(1., 1., 1., 1., 1., 1., 1., 1., .2, .2),
                 unmatched_label=None):
        super().__init__()
        if max_num < 1:
            raise ValueError(f'BEVDistillSparseLoss: max_num={max_num}, expected at least 1')
        self.bbox_weight, self.cls_weight, self.max_num = bbox_weight, cls_weight, max_num
        self.cls_cost, self.box_cost = cls_cost, box_cost
        self.score_reweight, self.unmatched_label = score_reweight, unmatched_label
        self.code_weights = tuple(code_weights)

    def forward(self, student, teacher):
        """Compares the queries.

        Args:
            student (dict): ``cls`` (B, Q, K) logits and ``boxes`` (B, Q, 8 or 10), of each stage:
                a list, or stacked (stages, B, Q, ...).
            teacher (dict): the same with its own number of queries, (B, Q', ...); the last stage
                is looked at alone.

        Returns:
            dict: 'box' and, unless its weight is 0, 'cls'.

        Raises:
            ValueError: if a tap is missing, or stages, batch sizes, classes or codes differ.
        """
        cls, boxes = self._checked('student', student)
        scores, codes = (x[-1].detach() for x in self._checked('teacher', teacher))
        for tap, ours, theirs in (('cls', cls, scores), ('boxes', boxes, codes)):
            if any(len(x) != len(theirs) or x.shape[2] != theirs.shape[2]
                   for x in ours):
                raise ValueError(
                    f'BEVDistillSparseLoss: {tap} of the student: {[tuple(x.shape) for x in ours]}'
                    f', of the teacher: {tuple(theirs.shape)}. Batch, and classes or codes, must '
                    'be the same')
        targets = [self.known(*sample) for sample in zip(scores, codes, strict=True)]
        found = [self.stage(c, b, targets)[0] for c, b in zip(cls, boxes, strict=True)]
        return {name: sum(parts[name] for parts in found) for name in found[0]}

    def _checked(self, side, value):
        """Lists of (B, Q, K) and (B, Q, R), one for each stage."""
        need_taps('BEVDistillSparseLoss', side, value, ('cls', 'boxes'))
        stages = [list(value[tap]) if isinstance(value[tap], (list, tuple)) or value[tap].dim() == 4
                  else [value[tap]] for tap in ('cls', 'boxes')]
        shapes = [[tuple(x.shape) for x in some] for some in stages]
        codes = len(self.code_weights)
        if not shapes[0] or any(len(shape) != 3 for some in shapes for shape in some) or \
                [shape[:2] for shape in shapes[0]] != [shape[:2] for shape in shapes[1]]:
            raise ValueError(f'BEVDistillSparseLoss: the {side} has cls {shapes[0]} and boxes '
                             f'{shapes[1]}; expected (B, Q, K) and (B, Q, {codes}) for each stage '
                             'of the decoder')
        if any(not MATCHED_CODES <= shape[2] <= codes for shape in shapes[1]):
            raise ValueError(f'BEVDistillSparseLoss: the {side} has boxes {shapes[1]}; from '
                             f'{MATCHED_CODES} to {codes} codes are known, cx, cy, log w, log l, '
                             'cz, log h, sin, cos, vx, vy (see code_weights)')
        return stages

    @torch.no_grad()
    def known(self, logits, codes):
        """The teacher's best queries in a sample: of (Q', K) logits and (Q', R) codes the scores
        (T, K), from 0 to 1, and the codes (T, R)."""
        scores, codes = wide(logits).sigmoid(), wide(codes)
        finite = scores.isfinite().all(1) & codes.isfinite().all(1)
        scores, codes = scores[finite], codes[finite]
        if not scores.numel():
            return scores[:0], codes[:0]
        best = scores.amax(1).topk(min(self.max_num, len(scores))).indices
        return scores[best], codes[best]

    def stage(self, cls, boxes, targets):
        """The losses of one stage, and what each query is matched with.

        Args:
            cls, boxes: (B, Q, K) logits and (B, Q, R) codes.
            targets: of each sample scores (T, K), from 0 to 1, and codes (T, R).

        Returns:
            dict as :meth:`forward`'s, and (B, Q) int64: the row among the targets, -1 for none.
        """
        if not cls.numel() or not boxes.numel():
            parts = dict(box=zero_of(boxes)) | (dict(cls=zero_of(cls)) if self.cls_weight else {})
            return parts, torch.full(cls.shape[:2], -1, device=cls.device)
        cls, boxes = wide(cls), wide(boxes)
        with full_precision(cls):
            matched = torch.stack([self.match(*sample) for sample in zip(
                cls, boxes, targets, strict=True)])
            some = matched >= 0
            labels, codes = (torch.cat([target[i][rows[rows >= 0]] for target, rows in zip(
                targets, matched, strict=True)]).to(cls) for i in (0, 1))
            weights = boxes.new_tensor(self.code_weights[:boxes.shape[2]])
            error, count = ((boxes[some] - codes).abs() * weights).sum(1), some.sum()
            if self.score_reweight:
                quality = labels.amax(1)
                error, count = error * quality.square(), quality.sum()
            parts = dict(box=self.bbox_weight * ratio(error.sum(), count))
            if self.cls_weight:
                parts['cls'] = self.cls_weight * ratio(self._entropy(cls, labels, some),
                                                        some.sum())
        return parts, matched

    def _entropy(self, cls, labels, some):
        if self.unmatched_label is None:
            return F.binary_cross_entropy_with_logits(cls[some], labels, reduction='sum')
        target = torch.full_like(cls, self.unmatched_label)
        target[some] = labels
        return F.binary_cross_entropy_with_logits(cls, target, reduction='sum')

    @torch.no_grad()
    def match(self, cls, boxes, target):
        """(Q,) int64: the row of the target for each query of a sample, -1 for none."""
        scores, codes = target
        scores, codes = scores.to(cls), codes.to(boxes)
        cost = F.softplus(-cls) @ scores.T + F.softplus(cls) @ (1 - scores).T
        cost = self.cls_cost * cost + self.box_cost * torch.cdist(
            boxes[:, :MATCHED_CODES], codes[:, :MATCHED_CODES], p=1)
        cost = cost.nan_to_num(nan=1e30).clamp(-1e30, 1e30).cpu().numpy()
        rows, columns = (torch.as_tensor(x, device=cls.device)
                         for x in linear_sum_assignment(cost))
        matched = torch.full((len(cls),), -1, dtype=torch.int64, device=cls.device)
        matched[rows] = columns
        return matched

    def extra_repr(self):
        return f'bbox_weight={self.bbox_weight}, cls_weight={self.cls_weight}, ' \
               f'max_num={self.max_num}'
