"""UniDistill (Zhou et al., "UniDistill: A Universal Cross-Modality Knowledge Distillation
Framework for 3D Object Detection in Bird's-Eye View", CVPR 2023).

Three losses between detectors of any modality: features at nine points of each box, how the
features at these points relate, and what the heads say near boxes. Formulas and defaults are
those of the official code (megvii-research/CVPR2023-UniDistill).
"""
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..full_precision import full_precision, matmul, wide
from ..maps import check_maps, empty_loss, need_taps, prepare
from .footprints import check_boxes, foreground_gaussians

_EPS = 1e-4
#: cells around the map in which boxes are drawn, too: the radius of one of 65 x 65 cells
_BEYOND = 16


class _AtBoxes(nn.Module):
    """A loss of features at nine points of each box.

    Args:
        transposed: read as the official code does, which exchanges x and y, so that it reads the
            cell of the map's transpose: away from the object, in both networks alike (issue 7 of
            its repository). That produced the published numbers. False: at the box, as the paper
            says.
    """

    def __init__(self, transposed=True):
        super().__init__()
        self.transposed = transposed

    def forward(self, student, teacher, boxes_3d, bev_range):
        """Compares what both maps have at the boxes.

        Args:
            student: (B, C, Y, X).
            teacher: (B, C', Y', X'), of the same range.
            boxes_3d: of each sample (K, 7 or more): x, y, z, dx, dy, dz, yaw, metres and radians.
            bev_range: (x_min, y_min, x_max, y_max) of both maps, metres.

        Returns:
            The scalar loss.

        Raises:
            ValueError: if batch sizes differ (or channels, where they must not), or boxes are not
                those of the batch.
        """
        name = type(self).__name__
        check_maps(name, student, teacher, getattr(self, 'same_channels', False))
        check_boxes(name, boxes_3d, len(student))
        count = _mean_of_processes(student.new_full((), sum(map(len, boxes_3d)),
                                                    dtype=torch.float64))
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        if not any(map(len, boxes_3d)):
            return zero_of(student)
        student, teacher = prepare(student, teacher, resize=False)
        with full_precision(student):
            sides = [features_at(x, boxes_3d, bev_range, self.transposed)
                     for x in (student, teacher)]
            return self.compare(*sides).sum() / (count + _EPS).to(student.dtype)

    def extra_repr(self):
        return f'transposed={self.transposed}'


@MODELS.register_module()
class UniDistillFeatureLoss(_AtBoxes):
    """Absolute difference of the features at nine points of each box.

    The points are the corners, the middles of the edges and the center. The mean over points and
    channels is summed over the boxes and divided by (number of boxes + 1e-4), of all processes on
    average. Without boxes it is 0. Beyond the map features are 0.

    The official code pads the boxes of a batch with rows of zeros, of which the first one counts
    as a box in a sample without any. That is not done here.

    Args:
        transposed: read as the official code does, which exchanges x and y, so that it reads the
            cell of the map's transpose: away from the object, in both networks alike. That
            produced the published numbers. False: at the box, as the paper says.

    Sizes: each map is read bilinearly at the same metres, whatever its cells.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    @staticmethod
    def compare(student, teacher):
        """(K, 9, C) of both sides to (K,)."""
        return (student - teacher).abs().mean((1, 2))


@MODELS.register_module()
class UniDistillRelationLoss(_AtBoxes):
    """Absolute difference of how alike the features at nine points of a box are.

    The points are those of ``UniDistillFeatureLoss``. The 9 x 9 cosines between them (with norm +
    1e-4) are compared; the mean over them is summed over the boxes and divided by (number of
    boxes + 1e-4), of all processes on average. Without boxes it is 0.

    Args:
        transposed: read as the official code does, which exchanges x and y, so that it reads the
            cell of the map's transpose: away from the object, in both networks alike. That
            produced the published numbers. False: at the box, as the paper says.

    Sizes: each map is read bilinearly at the same metres, whatever its cells. Channels may differ.
    """

    @staticmethod
    def compare(student, teacher):
        """(K, 9, C) of both sides to (K,)."""
        relations = []
        for x in (student, teacher):
            unit = x / (x.norm(dim=2, keepdim=True) + _EPS)
            relations.append(matmul(unit, unit.mT))
        return (relations[0] - relations[1]).abs().mean((1, 2))


@MODELS.register_module()
class UniDistillResponseLoss(nn.Module):
    """Absolute differences of heatmaps and regression, weighted by a Gaussian around each box.

    * 'cls': sum of G |max_class S - max_class T| / (sum of G + 1e-4), of the probabilities of all
      tasks' classes; the teacher's are sigmoid(logit / 2), and the student's have no temperature.
    * 'reg': sum of G mean |S - T| / (sum of G + 1e-4), the mean over all channels of all tasks.

    G is the largest Gaussian of CenterNet's kind at a cell, whatever the class, also of a box
    that is centered beyond the map and reaches it; its sum is that of all processes on average.
    Without boxes both are 0.

    The official code pads the boxes of a batch with rows of zeros, and draws a spot of one cell in
    the middle of the grid for each. That is not done here.

    Args:
        tau: the teacher's temperature.
        sigmoid_clamp: the teacher's probabilities are at least that far from 0 and 1; 1e-3 where
            a fusion of both modalities teaches a camera.
        min_overlap: IoU that a box keeps when it is moved by its Gaussian's radius.

    Sizes: the student's maps are resized bilinearly to the teacher's height and width.
    """

    pyramid = True  # a list of maps, one for each task, is no pyramid

    def __init__(self, tau=2., sigmoid_clamp=1e-4, min_overlap=0.7):
        super().__init__()
        if not tau > 0:
            raise ValueError(f'UniDistillResponseLoss: tau={tau!r}, expected a temperature '
                             'greater than 0')
        self.tau, self.sigmoid_clamp, self.min_overlap = tau, sigmoid_clamp, min_overlap

    def forward(self, student, teacher, boxes_3d, bev_range):
        """Compares what the heads say.

        Args:
            student: dict: 'heatmap', the logits (B, K, Y, X) of each task, and 'reg', the
                regression (B, R, Y, X) of each.
            teacher: the same, (B, K', Y', X') and (B, R, Y', X').
            boxes_3d: of each sample (K, 7 or more): x, y, z, dx, dy, dz, yaw, metres and radians.
            bev_range: (x_min, y_min, x_max, y_max) of the maps, metres.

        Returns:
            dict: 'cls' and 'reg'.

        Raises:
            ValueError: if a tap is missing, batch sizes or channels of the regression differ, or
                boxes are not those of the batch.
        """
        name, maps = 'UniDistillResponseLoss', {}
        for side, value in (('student', student), ('teacher', teacher)):
            need_taps(name, side, value, ('heatmap', 'reg'))
            for tap in ('heatmap', 'reg'):
                given = value[tap]
                maps[side, tap] = torch.cat(list(given), 1) if isinstance(
                    given, (list, tuple)) else given
        for tap in ('heatmap', 'reg'):
            check_maps(name, maps['student', tap], maps['teacher', tap],
                       same_channels=tap == 'reg')
        check_boxes(name, boxes_3d, len(maps['student', 'heatmap']))
        heat = prepare(maps['student', 'heatmap'], maps['teacher', 'heatmap'])
        reg = prepare(maps['student', 'reg'], maps['teacher', 'reg'])
        probabilities = [(x / tau).sigmoid().clamp(low, 1 - low) for x, tau, low in zip(
            heat, (1., self.tau), (1e-4, self.sigmoid_clamp), strict=True)]
        return self.compare(*probabilities, *reg, boxes_3d, bev_range)

    def compare(self, student, teacher, student_reg, teacher_reg, boxes, bev_range):
        """'cls' and 'reg' of probabilities (B, K, Y, X) and regressions (B, R, Y, X)."""
        empty = [empty_loss(*pair) for pair in ((student, teacher), (student_reg, teacher_reg))]
        if empty[0] is not None or empty[1] is not None:
            return dict(cls=zero_of(student), reg=zero_of(student_reg))
        weight = self.foreground(boxes, bev_range, teacher)
        total = _mean_of_processes(weight.sum()) + _EPS
        cls = (student.amax(1) - teacher.amax(1)).abs()
        reg = (student_reg - teacher_reg).abs().mean(1)
        return dict(cls=(cls * weight).sum() / total, reg=(reg * weight).sum() / total)

    def foreground(self, boxes, bev_range, like):
        """(B, Y, X), the weight of each cell of a map ``like``."""
        return foreground_gaussians(boxes, bev_range, like.shape[2:], like, self.min_overlap,
                                    min_radius=0, beyond=_BEYOND)[:, 0].to(like)

    def extra_repr(self):
        return f'tau={self.tau}, sigmoid_clamp={self.sigmoid_clamp}, ' \
               f'min_overlap={self.min_overlap}'


def nine_points(boxes):
    """(K, 7 or more) to (K, 9, 2), x and y in metres: corners, center, middles of the edges."""
    boxes = wide(boxes)
    offsets = boxes.new_tensor([(-1, -1), (-1, 1), (1, 1), (1, -1), (0, 0), (-1, 0), (0, 1),
                                (1, 0), (0, -1)]) / 2
    along, across = (boxes[:, None, 3:5] * offsets).unbind(2)
    cos, sin = boxes[:, 6:7].cos(), boxes[:, 6:7].sin()
    turned = torch.stack([along * cos - across * sin, along * sin + across * cos], 2)
    return boxes[:, None, :2] + turned


def features_at(x, boxes, bev_range, transposed):
    """(B, C, Y, X) at nine points of each box, (K, 9, C) with the boxes of all samples."""
    low, high = x.new_tensor(bev_range).split(2)
    found = []
    for one, points in zip(x, map(nine_points, boxes), strict=True):
        # A point that is not finite is outside.
        grid = ((points.to(x) - low) / (high - low) * 2 - 1).nan_to_num(9., 9., 9.).clamp(-9, 9)
        grid = grid.flip(2) if transposed else grid
        if len(points):
            found.append(F.grid_sample(one[None], grid[None], align_corners=False)[0]
                         .permute(1, 2, 0))
    return torch.cat(found)


def _mean_of_processes(x):
    x = x.detach().clone()
    all_reduce(x, 'mean')
    return x
