"""The heads of CRKD (Zhao, Song, Skinner, "CRKD: Enhanced Camera-Radar Object Detection with
Cross-modality Knowledge Distillation", CVPR 2024)."""
import torch
import torch.nn.functional as F
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..maps import check_levels, need_taps, prepare


@MODELS.register_module()
class CRKDResponseLoss(nn.Module):
    """Heatmaps and boxes of a CenterHead, with the teacher's as soft labels.

    With probabilities S and T of the heatmaps, for each task

    * 'cls': cross-entropy of S with T times (S - T)^2, summed, divided by the number of values T
      above ``pos_threshold`` (at least 1);
    * 'reg': 4 R times the mean of smooth L1 times the sum of T over the classes, over the R
      channels of the cells where this sum is above ``threshold``. Where there is no such cell in
      the batch, the threshold is lowered by 0.01 until there is one;

    both times the task's weight, and added up over the tasks. The official student's heatmap has
    been through a sigmoid twice, which is the default here.

    The taps are called ``heatmap`` and ``reg``; both heads must have the same tasks.

    Args:
        task_weights: one for each task; None: 1. The released ones are of nuScenes' six tasks.
        threshold: of the cells whose boxes are compared.
        pos_threshold: from which probability on a value counts as an object.
        sigmoid_twice: see above; False: once.

    Sizes: the student's maps are resized bilinearly to the teacher's height and width.
    """

    pyramid = True  # the maps of all tasks of the head at once
    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, task_weights=(2., 2., 2., 1., 2., 1.), threshold=0.1, pos_threshold=0.3,
                 sigmoid_twice=True):
        super().__init__()
        self.task_weights = None if task_weights is None else tuple(task_weights)
        self.threshold, self.pos_threshold = threshold, pos_threshold
        self.sigmoid_twice = sigmoid_twice

    def forward(self, student, teacher):
        """Compares the predictions of every task.

        Args:
            student (dict): for each task ``heatmap`` (B, K, Y, X) logits, and ``reg``
                (B, R, Y, X).
            teacher (dict): the same, (B, K, Y', X') and (B, R, Y', X').

        Returns:
            dict: 'cls' and 'reg'.

        Raises:
            ValueError: if a tap is missing, tasks, batch sizes or channels differ, or there are
                not as many weights as tasks.
        """
        for side, value in (('student', student), ('teacher', teacher)):
            need_taps('CRKDResponseLoss', side, value, ('heatmap', 'reg'))
        heats, regs = (list(zip(*check_levels(f'CRKDResponseLoss, {tap}', student[tap],
                                              teacher[tap], same_channels=True), strict=True))
                       for tap in ('heatmap', 'reg'))
        weights = self.task_weights or (1.,) * len(heats)
        if not len(weights) == len(heats) == len(regs):
            raise ValueError(f'CRKDResponseLoss: {len(weights)} task_weights, but the heads have '
                             f'{len(heats)} heatmaps and {len(regs)} regressions: give one weight '
                             'for each task, or None')
        parts = dict(cls=0., reg=0.)
        for weight, heat, reg in zip(weights, heats, regs, strict=True):
            found = self._task(heat, reg)
            parts = {name: parts[name] + weight * found[name] for name in parts}
        return parts

    def _task(self, heat, reg):
        if not all(x.numel() for x in (*heat, *reg)):
            return dict(cls=zero_of(heat[0]), reg=zero_of(reg[0]))
        scores, logits = prepare(*heat)
        scores = _probabilities(scores) if self.sigmoid_twice else scores
        return self.compare(scores, logits, *prepare(*reg))

    def compare(self, scores, logits, boxes, targets):
        """The losses of one task.

        Args:
            scores: (B, K, Y, X) of the student, before their last sigmoid.
            logits: (B, K, Y, X) of the teacher.
            boxes, targets: (B, R, Y, X) regressions of student and teacher.
        """
        s, t = _probabilities(scores), _probabilities(logits)
        entropy = -t * s.log() - (1 - t) * (1 - s).log()
        many = (t > self.pos_threshold).sum().clamp(min=1)
        certain = t.sum(1, keepdim=True)
        chosen = certain > self._lowered(certain)
        error = F.smooth_l1_loss(boxes, targets, reduction='none').sum(1, keepdim=True)
        # R times a mean over R channels of the cells is a sum over them
        reg = 4 * (error * torch.where(chosen, certain, 0.)).sum() / chosen.sum().clamp(min=1)
        return dict(cls=(entropy * (s - t).square()).sum() / many, reg=reg)

    def _lowered(self, certain):
        """The threshold, lowered until the largest value is above it."""
        steps = [self.threshold]
        while steps[-1] > 0:
            steps.append(steps[-1] - .01)
        steps = certain.new_tensor(steps)
        return steps[(certain.max() > steps).to(torch.uint8).argmax()]

    def extra_repr(self):
        return f'task_weights={self.task_weights}, threshold={self.threshold}'


def _probabilities(logits):
    return logits.sigmoid().clamp(1e-4, 1 - 1e-4)
