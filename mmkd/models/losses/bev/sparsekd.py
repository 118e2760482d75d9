"""SparseKD (Yang et al., "Towards Efficient 3D Object Detection with Knowledge Distillation",
NeurIPS 2022).

The logits of a CenterHead at pivotal positions: where the teacher is sure and an object is.
Formula and defaults are those of the official code (CVMI-Lab/SparseKD) for CenterPoint on voxels.
The paper's teacher-guided initialisation is ``init_student=dict(keep=...)`` of the distiller. Its
label assignment (confident boxes of the teacher become annotations) changes the detector's own
targets and is not part of this loss.
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..full_precision import wide
from ..maps import check_levels, empty_loss, need_taps, prepare
from ..resize import resize_to


@MODELS.register_module()
class SparseKDLoss(nn.Module):
    """Errors of heatmap and boxes of a CenterHead, averaged over its tasks.

    With probabilities S and T of the heatmaps and G the drawn boxes,

    * 'heatmap': ``hm_weight`` times the sum of m (S - T)^2 over classes and cells, divided by the
      sum of m over cells. m is the largest T times the largest G among the classes of a cell: no
      threshold.
    * 'reg': ``reg_weight`` times the absolute differences of the regression at the cells of the
      boxes, summed and divided by the number of boxes. Offsets are counted in cells, so that
      student and teacher must have the same cells (the official code has 0 where they have not).

    Without boxes both are 0.

    Args:
        hm_weight: Of the heatmap. Released are 10 (CP-Voxel-S), 15 (XS and XXS) and 7 (pillars).
        reg_weight: Of the regression. Released are 0.2 (voxels) and 0 (pillars). With 0 the
            regression is not tapped.

    Sizes: the student's probabilities are resized bilinearly to the teacher's height and width.
    """

    pyramid = True  # one instance gets the maps of all tasks

    def __init__(self, hm_weight=10., reg_weight=0.2):
        super().__init__()
        self.hm_weight, self.reg_weight = hm_weight, reg_weight

    def forward(self, student, teacher, gt_heatmaps, student_head, teacher_head):
        """Compare both heads.

        Args:
            student, teacher (dict): ``heatmap``, of each task the logits (B, K, Y, X), and, unless
                its weight is 0, ``reg``, of each task (B, R, Y, X).
            gt_heatmaps: Of each task of the student (B, K, Y, X) in [0, 1].
            student_head, teacher_head: Their CenterHeadView.

        Returns:
            dict: 'heatmap' and, unless its weight is 0, 'reg', each times its weight.

        Raises:
            ValueError: A tap is missing; batch sizes, tasks or channels differ; or cells do, with a
                weight of the regression.
        """
        names = ['heatmap', 'reg'] if self.reg_weight else ['heatmap']
        for side, value in (('student', student), ('teacher', teacher)):
            need_taps('SparseKDLoss', side, value, names)
        heatmaps = check_levels('SparseKDLoss', student['heatmap'], teacher['heatmap'], True)
        tasks, same = len(heatmaps[0]), teacher_head.range == student_head.range
        if tasks != len(gt_heatmaps):
            raise ValueError(f'SparseKDLoss: heatmaps of {tasks} tasks, drawn boxes of '
                             f'{len(gt_heatmaps)}: both must be of one head')
        same_cells = same and teacher_head.grid_size == student_head.grid_size
        if same and not same_cells and teacher_head.tasks == student_head.tasks:
            gt_heatmaps = teacher_head.heatmaps()
        found = [self.heatmap(_probabilities(s), _probabilities(t), g)
                 for s, t, g in zip(*heatmaps, gt_heatmaps, strict=True)]
        parts = dict(heatmap=self.hm_weight * sum(found) / tasks)
        if not self.reg_weight:
            return parts
        if not same_cells:
            raise ValueError(
                "SparseKDLoss: student and teacher have other cells (the student "
                f'{student_head.grid_size} on {student_head.range} m, the teacher '
                f'{teacher_head.grid_size} on {teacher_head.range} m), and offsets in boxes are '
                'counted in cells: set reg_weight=0, as in the recipe sparsekd_pillar')
        regs = check_levels('SparseKDLoss', student['reg'], teacher['reg'], True)
        targets = student_head.targets()
        found = [self.regression(s, t, i, m) for s, t, i, m in zip(
            *regs, targets.indices, targets.masks, strict=True)]
        return dict(parts, reg=self.reg_weight * sum(found) / tasks)

    @staticmethod
    def heatmap(student, teacher, drawn):
        """The error of one task's probabilities at pivotal positions.

        Args:
            student: (B, K, Ys, Xs).
            teacher: (B, K, Y, X).
            drawn: (B, K, ?, ?) Gaussians of the boxes.
        """
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student, teacher = prepare(student, teacher)
        drawn = resize_to(drawn.to(teacher), teacher.shape[2:])
        pivotal = teacher.amax(1) * drawn.amax(1)
        error = (student - teacher).square().sum(1)
        return (error * pivotal).sum() / (pivotal.sum() + 1e-6)

    @staticmethod
    def regression(student, teacher, indices, masks):
        """The error of one task's boxes.

        Args:
            student, teacher: (B, R, Y, X).
            indices: (B, M) y * X + x of the boxes' cells.
            masks: (B, M), which of the M are boxes.
        """
        student, teacher = prepare(student, teacher)
        at = indices.long()[:, None].expand(-1, student.shape[1], -1)
        student, teacher = (x.flatten(2).gather(2, at) for x in (student, teacher))
        masks = masks.bool()
        error = torch.where(masks[:, None], (student - teacher).abs(), 0.)
        return error.sum() / masks.sum().clamp(min=1)

    def extra_repr(self):
        return f'hm_weight={self.hm_weight}, reg_weight={self.reg_weight}'


def _probabilities(logits):
    return wide(logits).sigmoid().clamp(1e-4, 1 - 1e-4)
