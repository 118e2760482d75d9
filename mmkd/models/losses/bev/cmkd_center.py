"""CMKD for detectors with a CenterHead (Hong, Dai, Ding, ECCV 2022), as in Cc-Hy/CMKD-MV."""
import torch.nn.functional as F
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..full_precision import full_precision
from ..maps import check_levels, need_taps, prepare
from .cmkd import quality_focal

#: parts of a CenterHead's regression and their channels, in the order of the tap ``reg``
PARTS = dict(reg=2, height=1, dim=3, rot=2, vel=2)


@MODELS.register_module()
class CMKDCenterLoss(nn.Module):
    """Heatmaps and boxes of a CenterHead, with the teacher's as soft labels, summed over its tasks.

    With probabilities S and T of the heatmaps,

    * 'cls': cross-entropy of S with T times (S - T)^2, summed, divided by the number of values T
      of at least ``threshold`` (at least 1);
    * 'reg': for each part of the regression (place, height, size, heading, velocity) the mean of
      smooth L1 times the sigmoid of the sum of the teacher's logits over classes.

    The official code takes the logarithms of a probability that has been through a sigmoid twice;
    ``sigmoid_twice=True`` does that, too.

    The taps are called ``heatmap`` and ``reg``; both heads must have the same tasks.

    Args:
        cls_weight: of 'cls'.
        reg_weight: of 'reg'.
        threshold: from which probability on a value counts as an object.
        sigmoid_twice: see above.

    Sizes: the student's maps are resized bilinearly to the teacher's height and width.
    """

    pyramid = True  # the maps of all tasks of the head at once
    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, cls_weight=0.2, reg_weight=50., threshold=0.5, sigmoid_twice=False):
        super().__init__()
        self.weights = dict(cls=cls_weight, reg=reg_weight)
        self.threshold, self.sigmoid_twice = threshold, sigmoid_twice

    def forward(self, student, teacher):
        """Compares the predictions of every task.

        Args:
            student (dict): for each task ``heatmap`` (B, K, Y, X) logits, and ``reg``
                (B, 8 or 10, Y, X): place 2, height 1, size 3, heading 2, velocity 2 or none.
            teacher (dict): the same, (B, K, Y', X') and (B, 8 or 10, Y', X').

        Returns:
            dict: 'cls' and 'reg', each times its weight.

        Raises:
            ValueError: if a tap is missing, or tasks, batch sizes or channels differ.
        """
        for side, value in (('student', student), ('teacher', teacher)):
            need_taps('CMKDCenterLoss', side, value, ('heatmap', 'reg'))
        tasks = [list(zip(*check_levels(f'CMKDCenterLoss, {tap}', student[tap], teacher[tap],
                                        same_channels=True), strict=True))
                 for tap in ('heatmap', 'reg')]
        parts = dict.fromkeys(self.weights, 0.)
        with full_precision(tasks[0][0][0]):
            for heat, reg in zip(*tasks, strict=True):
                values = self._task(heat, reg)
                parts = {name: parts[name] + values[name] for name in parts}
        return {name: self.weights[name] * value for name, value in parts.items()}

    def _task(self, heat, reg):
        if not all(x.numel() for x in (*heat, *reg)):
            return dict(cls=zero_of(heat[0]), reg=zero_of(reg[0]))
        (scores, logits), (boxes, labels) = prepare(*heat), prepare(*reg)
        target = logits.sigmoid()
        if self.sigmoid_twice:
            scores = scores.sigmoid()
            focal = F.binary_cross_entropy_with_logits(scores, target, reduction='none')
            focal = focal * (scores - target).square()
        else:
            focal = quality_focal(scores, target)
        many = (target >= self.threshold).sum().clamp(min=1)
        certain = logits.sum(1, keepdim=True).sigmoid()
        error = F.smooth_l1_loss(boxes, labels, reduction='none') * certain
        sizes = list(PARTS.values())[:4 if error.shape[1] == 8 else 5]
        if sum(sizes) != error.shape[1]:
            raise ValueError(f'CMKDCenterLoss: reg has {error.shape[1]} channels; 8 or, with the '
                             'velocity, 10 are known')
        return dict(cls=focal.sum() / many, reg=sum(x.mean() for x in error.split(sizes, 1)))

    def extra_repr(self):
        return f'weights={self.weights}, threshold={self.threshold}'
