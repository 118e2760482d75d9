"""CMKD, cross-modality knowledge distillation (Hong, Dai, Ding: "Cross-Modality Knowledge
Distillation Network for Monocular 3D Object Detection", ECCV 2022).

The feature seen from above, and the teacher's predictions as soft labels: no annotation is looked
at. The formulas are those of the official code for anchors (Cc-Hy/CMKD, on KITTI); those for a
CenterHead are in cmkd_center.py.
"""
import torch
import torch.nn.functional as F
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..full_precision import full_precision
from ..maps import check_maps, empty_loss, need_taps, prepare, rows_of


@MODELS.register_module()
class CMKDFeatureLoss(nn.Module):
    """Error of the feature seen from above, a mean over channels and cells.

    Args:
        kind: 'L2', squared differences, or 'L1', absolute ones.
        use_nonzero_mask: whether cells in which the teacher's feature is zero in every channel
            weigh less.
        empty_weight: what such a cell weighs then.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, kind='L2', use_nonzero_mask=False, empty_weight=0.05):
        super().__init__()
        if kind not in ('L2', 'L1'):
            raise ValueError(f"kind={kind!r}: use 'L2' or 'L1'")
        self.kind, self.use_nonzero_mask, self.empty_weight = kind, use_nonzero_mask, empty_weight

    def forward(self, student, teacher):
        """Compares the maps.

        Args:
            student: (B, C, Y, X), after its connector.
            teacher: (B, C, Y', X').

        Returns:
            The scalar loss.

        Raises:
            ValueError: if batch sizes or channels differ.
        """
        check_maps('CMKDFeatureLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student, teacher = prepare(student, teacher)
        error = student - teacher
        error = error.square() if self.kind == 'L2' else error.abs()
        if not self.use_nonzero_mask:
            return error.mean()
        mask = torch.where((teacher != 0).any(1, keepdim=True), 1., self.empty_weight).to(error)
        return (error.mean(1, keepdim=True) * mask).sum() / mask.sum()

    def extra_repr(self):
        return f'kind={self.kind}, use_nonzero_mask={self.use_nonzero_mask}'


@MODELS.register_module()
class CMKDAnchorLoss(nn.Module):
    """Scores, boxes and directions of anchors, with the teacher's as soft labels.

    With probabilities S and T of an anchor and class,

    * 'cls': cross-entropy of S with T times (S - T)^2, summed; of every sample and class divided
      by the number of anchors with T above ``threshold`` (at least 1). It grows with the batch.
    * 'loc': smooth L1 of the codes (of the yaw the sine of the difference), times u;
    * 'dir': cross-entropy of the direction's bins with the teacher's choice, times u;

    the last two are summed and divided by the batch. u is the sum c of T over classes, where it is
    above ``threshold``, divided by the number of such anchors of the sample.

    The taps are called ``cls``, ``box_reg`` and ``dir_cls``.

    Args:
        cls_weight: of 'cls'.
        loc_weight: of 'loc'.
        dir_weight: of 'dir'.
        threshold: from which probability on an anchor counts as an object.
        beta: where smooth L1 turns from squared to linear.

    Sizes: student and teacher need anchors at the same places; maps of other sizes are refused.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, cls_weight=2., loc_weight=2., dir_weight=0.4, threshold=0.1, beta=1 / 9):
        super().__init__()
        self.weights = dict(cls=cls_weight, loc=loc_weight, dir=dir_weight)
        self.threshold, self.beta = threshold, beta

    def forward(self, student, teacher):
        """Compares the predictions of one level.

        Args:
            student (dict): of A anchors at each cell ``cls`` (B, A * K, Y, X) logits, ``box_reg``
                (B, A * 7, Y, X) codes, the yaw last, and ``dir_cls`` (B, A * 2, Y, X).
            teacher (dict): the same.

        Returns:
            dict: 'cls', 'loc' and 'dir', each times its weight.

        Raises:
            ValueError: if a tap is missing or shapes differ.
        """
        taps = ('cls', 'box_reg', 'dir_cls')
        for side, value in (('student', student), ('teacher', teacher)):
            need_taps('CMKDAnchorLoss', side, value, taps)
        for tap in taps:
            check_maps(f'CMKDAnchorLoss, {tap}', student[tap], teacher[tap], same_channels=True)
            if student[tap].shape != teacher[tap].shape:
                raise ValueError(
                    f'CMKDAnchorLoss: {tap} of the student has shape {tuple(student[tap].shape)}, '
                    f"of the teacher {tuple(teacher[tap].shape)}: they have anchors at other "
                    'places, so their boxes cannot be compared')
        if not all(student[tap].numel() for tap in taps):
            return {name: zero_of(student[tap])
                    for name, tap in zip(self.weights, taps, strict=True)}
        anchors, left = divmod(student['box_reg'].shape[1], 7)
        counts = [student[tap].shape[1] for tap in ('cls', 'dir_cls')]
        if left or any(count % anchors for count in counts):
            raise ValueError(f'CMKDAnchorLoss: cls, box_reg and dir_cls have {counts[0]}, '
                             f"{student['box_reg'].shape[1]} and {counts[1]} channels, which are "
                             'not those of A anchors (A * classes, A * 7, A * bins)')
        with full_precision(student['cls']):
            rows = [[rows_of(x, anchors) for x in prepare(student[tap], teacher[tap])]
                    for tap in taps]
            parts = self.compare(*rows)
        return {name: self.weights[name] * value for name, value in parts.items()}

    def compare(self, scores, boxes, directions):
        """The parts, of (student's, teacher's) rows (B, anchors, D)."""
        labels = scores[1].sigmoid()
        many = (labels > self.threshold).sum(1, keepdim=True).clamp(min=1)
        cls = (quality_focal(scores[0], labels) / many).sum()
        certain = labels.sum(2)
        chosen = certain > self.threshold
        share = torch.where(chosen, certain, 0.) / chosen.sum(1, keepdim=True).clamp(min=1)
        one, other = sine_difference(*boxes)
        loc = F.smooth_l1_loss(one, other, reduction='none', beta=self.beta).sum(2)
        bins = F.cross_entropy(directions[0].movedim(2, 1), directions[1].argmax(2),
                               reduction='none')
        batch = len(labels)
        return dict(cls=cls, loc=(loc * share).sum() / batch, dir=(bins * share).sum() / batch)

    def extra_repr(self):
        return f'weights={self.weights}, threshold={self.threshold}'


def quality_focal(logits, target):
    """Cross-entropy of the sigmoid of ``logits`` with ``target``, times the square of what they
    differ by."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    return entropy * (logits.sigmoid() - target).square()


def sine_difference(student, teacher):
    """Codes (..., 7) with the yaws replaced by numbers that differ by the sine of the
    difference."""
    one, other = student[..., 6:7], teacher[..., 6:7]
    return (torch.cat([student[..., :6], one.sin() * other.cos()], -1),
            torch.cat([teacher[..., :6], one.cos() * other.sin()], -1))
