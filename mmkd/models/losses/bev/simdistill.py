"""SimDistill (Zhao et al., "SimDistill: Simulated Multi-Modal Distillation for BEV 3D Object
Detection", AAAI 2024): the classes that the heads predict.

Its student has a second branch of cameras that simulates the LiDAR's map; the losses of features
are mean squared errors, of the simulated map times the sum of the drawn boxes. The official loss of
regressions reads, beside the cells of the objects, the map's first cell once for every slot that no
object takes (500 slots), and is not here.
"""
import torch.nn.functional as F
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..maps import check_levels, prepare
from .cmkd import quality_focal


@MODELS.register_module()
class SimDistillResponseLoss(nn.Module):
    """Quality focal loss of a CenterHead's heatmaps, with the teacher's as soft labels.

    With probabilities S and T, cross-entropy of S with T times (S - T)^2, divided by a number of
    values T above ``threshold`` (at least 1) and added up over samples, classes, cells and tasks.

    The official code gives what has been through a sigmoid once to a sigmoid again, so that S and T
    lie between 0.5 and 0.74 and all values are above the threshold; and of each class' map of a
    sample it counts the values of every K-th cell, K the number of the task's classes, each count
    for these cells. Both made the published numbers and are the default.

    The tap is the logits of the heatmaps of all tasks (``heatmap``); the official weight is 0.25.

    Args:
        threshold: from which probability on a value of the teacher is counted.
        sigmoid_twice: see above; False: once.
        mixed: which values are counted, see above. False: those of a class in a sample.

    Sizes: the student's maps are resized bilinearly to the teacher's height and width.
    """

    pyramid = True  # the maps of all tasks of the head at once
    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, threshold=0.1, sigmoid_twice=True, mixed=True):
        super().__init__()
        self.threshold, self.sigmoid_twice, self.mixed = threshold, sigmoid_twice, mixed

    def forward(self, student, teacher):
        """Compares the heatmaps of every task.

        Args:
            student: for each task (B, K, Y, X) logits.
            teacher: for each task (B, K, Y', X') logits.

        Returns:
            The scalar loss.

        Raises:
            ValueError: if tasks, batch sizes or classes differ.
        """
        pairs = zip(*check_levels('SimDistillResponseLoss', student, teacher, same_channels=True),
                    strict=True)
        return sum(self._task(s, t) for s, t in pairs)

    def _task(self, student, teacher):
        if not student.numel() or not teacher.numel():
            return zero_of(student)
        maps = prepare(student, teacher)
        if self.sigmoid_twice:
            maps = (x.sigmoid().clamp(1e-4, 1 - 1e-4) for x in maps)
        return self.compare(*maps)

    def compare(self, student, teacher):
        """The loss of one task: (B, K, Y, X) of both sides, before their last sigmoid."""
        target = teacher.sigmoid()
        counted = (target > self.threshold).flatten(2).to(target)
        classes, cells = counted.shape[1:]
        columns = classes if self.mixed else 1
        # cells in rows of ``columns``: each column has a count
        rows = F.pad(counted, (0, -cells % columns)).unflatten(2, (-1, columns))
        count = rows.sum(2, keepdim=True).clamp(min=1).expand_as(rows).flatten(2)[..., :cells]
        return (quality_focal(student, target).flatten(2) / count).sum()

    def extra_repr(self):
        return f'threshold={self.threshold}, sigmoid_twice={self.sigmoid_twice}, ' \
               f'mixed={self.mixed}'
