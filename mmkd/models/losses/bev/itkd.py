"""itKD (Cho et al., "itKD: Interchange Transfer-based Knowledge Distillation for 3D Object
Detection", CVPR 2023).

An auto-encoder that student and teacher share compares their maps, each decoded towards the
other, and an attention among the numbers that a CenterHead predicts compares objects. Formulas are
those of the official code (hyeon-jo/interchange-transfer-KD). It trains with lambda * KD +
(1 - lambda) * detection, lambda 0.5: a weight of 1 for either here.
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..full_precision import full_precision, matmul, wide
from ..maps import check_levels, check_maps, need_taps, prepare

TAPS = ('bev', 'heatmap', 'reg')


@MODELS.register_module()
class ITKDLoss(nn.Module):
    """The maps that the heads read, through a shared auto-encoder, and what the heads predict.

    * 'codec': U takes the student's channels to the teacher's, E and D encode and decode, all 1x1
      convolutions. ``|U D E U s - t| + |D E t - s| + |E U s - E t|``, means of absolute
      differences, and of the first two also the mean of squared differences at the cells of the
      objects (the mean of all ``max_objs`` places, of which those without an object are 0).
    * 'head': per task X, (max_objs, R), has what is predicted at the objects: heatmap, offset,
      height, size, rotation and, if there is one, velocity. Attention among the R columns,
      ``X softmax(X^T X / sqrt(max_objs))``, of all of them and of each of these parts alone, goes
      through a linear layer of 2R to R, the same for both sides. The loss is the sum of absolute
      differences, divided by the number of objects. Tasks are added up.

    The auto-encoder is trained by the same loss, so that 'codec' can fall without a better student.
    The official code looks at the objects of the first of several tasks alone; here each task has
    its own, and 'codec' the mean over tasks.

    Args:
        student_channels, teacher_channels (dict): Found by the dry run.
        code_channels: Of the code, behind layers of 128 and 64.
        parts: Numbers of channels of the parts of the regression, in order.
        sigmoid: Whether heatmaps are compared as probabilities, on both sides. The official
            student's are, since its own loss has put a sigmoid in their place, and the official
            teacher's are logits; 'student' is that.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.
    """

    pyramid = True  # one instance gets the maps of all tasks

    def __init__(self, student_channels=None, teacher_channels=None, code_channels=32,
                 parts=(2, 1, 3, 2, 2), sigmoid='student'):
        super().__init__()
        for side, channels in (('student', student_channels), ('teacher', teacher_channels)):
            need_taps('ITKDLoss', side, channels, TAPS)
        if sigmoid not in ('student', True, False):
            raise ValueError(f"ITKDLoss: sigmoid={sigmoid!r}, expected 'student', True or False")
        student, teacher = student_channels['bev'], teacher_channels['bev']
        self.up = nn.Conv2d(student, teacher, 1)
        self.encoder = _layers(teacher, 128, 64, code_channels)
        self.decoder = _layers(code_channels, 64, 128, student)
        self.splits = [[classes, *_parts(boxes, parts)] for classes, boxes in zip(
            student_channels['heatmap'], student_channels['reg'], strict=True)]
        self.mixers = nn.ModuleList(nn.Conv1d(2 * sum(split), sum(split), 1)
                                    for split in self.splits)
        self.sigmoid = sigmoid

    def forward(self, student, teacher, student_head, teacher_head):
        """Compare maps and objects.

        Args:
            student, teacher (dict): ``bev`` (B, C, Y, X); of each task ``heatmap`` (B, K, Y, X),
                logits, and ``reg`` (B, R, Y, X).
            student_head, teacher_head: Their CenterHeadView.

        Returns:
            dict: 'codec' and 'head'.

        Raises:
            ValueError: A tap is missing, batch sizes or channels differ, or the heads cover other
                cells.
        """
        for side, value in (('student', student), ('teacher', teacher)):
            need_taps('ITKDLoss', side, value, TAPS)
        check_maps('ITKDLoss', student['bev'], teacher['bev'])
        cells = [(head.range, head.grid_size) for head in (student_head, teacher_head)]
        if cells[0] != cells[1]:
            raise ValueError(f'ITKDLoss: the heads have other cells (range in metres, and number: '
                             f'student {cells[0]}, teacher {cells[1]}), so that offsets in cells '
                             'cannot be compared. Take a student on the grid of its teacher')
        targets = student_head.targets()
        objects = list(zip(targets.indices, targets.masks, strict=True))
        codec = self.codec(student['bev'], teacher['bev'], objects)
        maps = {name: check_levels('ITKDLoss', student[name], teacher[name], True)
                for name in TAPS[1:]}
        heads = [self.head(task, self._predicted(0, maps, task), self._predicted(1, maps, task),
                           *objects[task]) for task in range(len(self.splits))]
        return dict(codec=codec, head=sum(heads))

    def _predicted(self, side, maps, task):
        heatmap, reg = (wide(maps[name][side][task]) for name in TAPS[1:])
        if self.sigmoid is True or (self.sigmoid == 'student' and side == 0):
            heatmap = heatmap.sigmoid().clamp(1e-4, 1 - 1e-4)
        return torch.cat([heatmap, reg], 1)

    def codec(self, student, teacher, objects):
        """The loss of the auto-encoder.

        Args:
            student: (B, Cs, Y, X).
            teacher: (B, Ct, Y', X').
            objects: of each task (B, M) indices y * X' + x and (B, M) masks.
        """
        with full_precision(student):
            student, teacher = prepare(student, teacher)
            lifted = self.up(student)
            codes = self.encoder(lifted), self.encoder(teacher)
            across = ((self.up(self.decoder(codes[0])), teacher),
                      (self.decoder(codes[1]), student))
            value = (codes[0] - codes[1]).abs().mean()
            for one, other in across:
                value = value + (one - other).abs().mean() + sum(
                    (at_objects(one, *places) - at_objects(other, *places)).square().mean()
                    for places in objects) / len(objects)
            return value

    def head(self, task, student, teacher, indices, masks):
        """The loss of one task's predictions.

        Args:
            task (int): Which one.
            student, teacher: (B, R, Y, X), heatmap and regression.
            indices, masks: (B, M), of the objects.
        """
        with full_precision(student):
            both = [self.attended(task, at_objects(x, indices, masks))
                    for x in prepare(student, teacher)]
            count = masks.bool().sum().to(both[0].dtype)
            return (both[0] - both[1]).abs().sum() / (count + 1e-4)

    def attended(self, task, x):
        """(B, M, R) -> (B, R, M): attention among all columns and within parts, mixed."""
        found = [attention(x), *map(attention, x.split(self.splits[task], 2))]
        return self.mixers[task](torch.cat(found, 2).mT)

    def extra_repr(self):
        return f'splits={self.splits}, sigmoid={self.sigmoid!r}'


def attention(x):
    """(B, M, R) -> (B, M, R): each column is a mixture of all, by what they have in common."""
    scores = matmul(x.mT, x) / max(x.shape[1], 1) ** 0.5
    return matmul(x, scores.softmax(1))


def at_objects(x, indices, masks):
    """(B, M, C) of maps (B, C, Y, X) at the cells of objects; 0 where there is none."""
    at = indices.long()[:, None].expand(-1, x.shape[1], -1)
    found = x.flatten(2).gather(2, at).mT
    return torch.where(masks.bool()[:, :, None], found, 0.)


def _layers(first, *widths):
    layers = []
    for before, width in zip((first, *widths), widths, strict=False):
        layers += [nn.ReLU(), nn.Conv2d(before, width, 1)]
    return nn.Sequential(*layers[1:])


def _parts(channels, parts):
    """The first of ``parts``, as many as make ``channels``."""
    for count in range(len(parts) + 1):
        if sum(parts[:count]) == channels:
            return parts[:count]
    raise ValueError(f'ITKDLoss: parts={tuple(parts)} of the regression, which has {channels} '
                     'channels: the first of them must add up to that')
