"""CrossKD's connector (Wang et al., CVPR 2024): student features through the teacher's head.

Written from a description of the method: the official code has a non-commercial licence.
"""
import torch
from torch import nn

from mmkd.registry import MODELS


@MODELS.register_module()
class CrossHeadConnector(nn.Module):
    """What the teacher's head predicts from features of the student's towers.

    Each map of the student gets, channel by channel, the mean and the standard deviation of the
    teacher's map at the same place, over all images and positions; then it runs through the
    layers of the teacher's head that follow. The gradient passes through these frozen layers to
    the student. They are not in this module's tree: no checkpoint, optimizer or copy has them.

    A term that uses it::

        student_tap=dict(cls='cls_tower.3', reg='reg_tower.3'),
        teacher_tap=dict(cls='cls', reg='reg', cls_tower='cls_tower.3', reg_tower='reg_tower.3'),
        student_connector=dict(type='mmkd.CrossHeadConnector', after=3)

    Args:
        teacher_head (DenseHead): The teacher's; filled in by the distiller.
        after: the number of the convolution (and norm) that the taps come after, from 1; 0 for
            what the head gets. Published: 3 of 4, FCOS 2.
        activated: whether mean and deviation are those of features after the ReLU that follows
            the convolution. So they are in the official code, whose ReLU works in place on the
            features it keeps, and so were its numbers trained. False: before the ReLU, as the
            method is described. Either way the ReLU follows the matching.
        eps: what is added to the student's standard deviation.

    Raises:
        ValueError: if there is no teacher's head.
    """

    pyramid = True

    def __init__(self, teacher_head=None, after=3, activated=True, eps=1e-6):
        super().__init__()
        if teacher_head is None:
            raise ValueError('CrossHeadConnector needs the head of a teacher (teacher_head), '
                             'which a distiller fills in for detectors with a dense head')
        self.teacher_head, self.after = teacher_head, after
        self.activated, self.eps = activated, eps

    def forward(self, x, teacher):
        """Return the predictions, a dict: cls, reg and, if the head has it, centerness.

        Args:
            x (dict): The student's ``cls`` and ``reg``, features of the two towers, (N, C, H, W)
                per level.
            teacher (dict): The teacher's ``cls_tower`` and ``reg_tower``, at the same place.

        Raises:
            ValueError: if a tap is missing, or numbers of levels, channels or sizes differ.
        """
        towers = {}
        for branch in ('cls', 'reg'):
            name = f'{branch}_tower'
            for side, value, key in (('student', x, branch), ('teacher', teacher, name)):
                if not isinstance(value, dict) or key not in value:
                    raise ValueError(
                        f'CrossHeadConnector: the {side} has no tap {key!r}. It takes student_tap='
                        "dict(cls='cls_tower.3', reg='reg_tower.3') and teacher_tap=dict(cls="
                        "'cls', reg='reg', cls_tower='cls_tower.3', reg_tower='reg_tower.3')")
            if len(x[branch]) != len(teacher[name]):
                raise ValueError(f'CrossHeadConnector: the student has {len(x[branch])} levels of '
                                 f'{branch}, the teacher {len(teacher[name])}')
            towers[branch] = [self._align(branch, level, *pair) for level, pair in
                              enumerate(zip(x[branch], teacher[name], strict=True))]
        return self.teacher_head.rest(towers['cls'], towers['reg'], after=self.after)

    def _align(self, branch, level, student, teacher):
        """``student`` with the teacher's mean and standard deviation of each channel."""
        if student.shape != teacher.shape:
            raise ValueError(
                f'CrossHeadConnector: level {level} of {branch} is {tuple(student.shape)} in the '
                f"student and {tuple(teacher.shape)} in the teacher. The student's features run "
                "through the teacher's layers: both heads need the same feat_channels, and maps "
                'of the same size')
        if not student.numel():
            return student
        dtype = torch.promote_types(student.dtype, torch.float32)
        student, teacher = student.to(dtype), teacher.detach().to(dtype)
        if self.activated and self.after:
            student, teacher = student.relu(), teacher.relu()
        # one row per channel: another order of summation would be felt behind the layers
        rows, wanted = (x.transpose(0, 1).flatten(1) for x in (student, teacher))
        mean, std = statistics(rows)
        wanted_mean, wanted_std = statistics(wanted)
        matched = (rows - mean) / (std + self.eps) * wanted_std + wanted_mean
        return matched.unflatten(1, (len(student), *student.shape[2:])).transpose(0, 1)

    def extra_repr(self):
        return f'after={self.after}, activated={self.activated}, eps={self.eps}'


def statistics(rows):
    """Mean and standard deviation of each row, (C, 1); the latter is 0 of one value."""
    correction = 1 if rows.shape[1] > 1 else 0
    return rows.mean(1, keepdim=True), rows.std(1, keepdim=True, correction=correction)
