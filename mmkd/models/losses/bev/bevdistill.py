"""BEVDistill (Chen et al., "BEVDistill: Cross-Modal BEV Distillation for Multi-View 3D Object
Detection", ICLR 2023).

Two of its three parts: the dense one, of features near objects, and the relation between places
(InfoNCE). The sparse part, for the queries of two DETR-like detectors, is
``BEVDistillSparseLoss`` (bevdistill_sparse.py).
"""
import torch
import torch.nn.functional as F
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..full_precision import full_precision, matmul
from ..maps import check_maps, empty_loss, need_taps, prepare, ratio
from ..resize import resize_to
from .footprints import check_boxes, foreground_gaussians


@MODELS.register_module()
class BEVDistillDenseLoss(nn.Module):
    """Squared error of the feature, weighted by a Gaussian around each box.

    The sum over samples, channels and cells of G (S - T)^2, divided by the sum of G: a mean over
    places near objects, of sums over channels. G is the largest Gaussian of CenterPoint's kind at a
    cell. Without a box on the map the loss is 0, and the official code 0 / 0. The official product
    is defined for one sample (it trains one on each GPU); several are pooled here.

    In the official code both maps come out of a convolution of 3x3 that a CenterHead has first; a
    ``ConvConnector(kernel_size=3, norm=True, act=True)`` is the student's here.

    Args:
        min_overlap: IoU that decides the radius of the Gaussians.
        min_radius: smallest radius in cells.

    Sizes: the teacher's map is resized bilinearly to the student's cells.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, min_overlap=0.1, min_radius=1):
        super().__init__()
        self.min_overlap, self.min_radius = min_overlap, min_radius

    def forward(self, student, teacher, boxes_3d, bev_range):
        """Compares the maps near the boxes.

        Args:
            student: (B, C, Y, X), after its connector.
            teacher: (B, C, Y', X').
            boxes_3d: of each sample (K, 7 or more): x, y, z, dx, dy, dz, yaw, metres and radians.
            bev_range: (x_min, y_min, x_max, y_max) of both maps, metres.

        Returns:
            The scalar loss.

        Raises:
            ValueError: if batch sizes or channels differ, or boxes are not those of the batch.
        """
        check_maps('BEVDistillDenseLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        check_boxes('BEVDistillDenseLoss', boxes_3d, len(student))
        student, teacher = prepare(student, teacher, resize=False)
        teacher = resize_to(teacher, student.shape[2:])
        weight = self.foreground(boxes_3d, bev_range, student)
        total = weight.sum()
        error = ((student - teacher).square().sum(1, keepdim=True) * weight).sum()
        return ratio(error, total)

    def foreground(self, boxes_3d, bev_range, like):
        """(B, 1, Y, X), the weight of each cell of a map ``like``."""
        return foreground_gaussians(boxes_3d, bev_range, like.shape[2:], like, self.min_overlap,
                                    self.min_radius).to(like)

    def extra_repr(self):
        return f'min_overlap={self.min_overlap}, min_radius={self.min_radius}'


@MODELS.register_module()
class BEVDistillRelationLoss(nn.Module):
    """InfoNCE between student and teacher at the places where the student sees objects.

    Both maps are read bilinearly at M places (zeros beyond the map) and projected on either side by
    a linear layer and a small network (linear, BatchNorm, ReLU, linear) to vectors of length 1. A
    teacher's vector must be told from the others by the student's at the same place:
    cross-entropy of the rows of T S^T / ``T`` with the diagonal. All samples of a process are one
    set.

    The official places are the boxes of a DETR-like student, of all queries of all decoder stages.
    A detector with a CenterHead has none; here they are the centers it predicts in the
    ``num_points`` cells with the highest class scores. No place receives a gradient.

    The student's taps are called ``bev``, ``heatmap`` and ``reg``; of the teacher ``bev`` is looked
    at alone.

    Args:
        T: temperature.
        mid_channels: width of the projections.
        num_points: places of a sample.
        student_channels, teacher_channels: found by the dry run.

    Sizes: both maps are read at the same metres; neither is resized.
    """

    pyramid = True  # the maps of all tasks of the head at once

    def __init__(self, T=0.07, mid_channels=512, num_points=500, student_channels=None,
                 teacher_channels=None):
        super().__init__()
        if not T > 0:
            raise ValueError(f'T={T}: the temperature must be greater than 0')
        if num_points < 1:
            raise ValueError(f'num_points={num_points}: at least one place is needed')
        self.T, self.num_points = T, num_points
        self.student_projection, self.teacher_projection = (
            nn.Linear(_bev_channels(channels, side), mid_channels)
            for side, channels in (('student', student_channels), ('teacher', teacher_channels)))
        self.student_encoder, self.teacher_encoder = (nn.Sequential(
            nn.Linear(mid_channels, mid_channels), nn.BatchNorm1d(mid_channels),
            nn.ReLU(inplace=True), nn.Linear(mid_channels, mid_channels)) for _ in range(2))

    def forward(self, student, teacher):
        """Compares the maps at the places of the student's objects.

        Args:
            student (dict): ``bev`` (B, C, Y, X); ``heatmap``, for each task the logits
                (B, K, Y', X'), and ``reg``, for each task (B, 2 or more, Y', X'), of which the
                first two are the place of the center in the cell, x before y.
            teacher (dict): ``bev`` (B, C', Y, X).

        Returns:
            The scalar loss; 0 for a single place, which has nothing to be told from.

        Raises:
            ValueError: if a tap is missing, or batch sizes differ.
        """
        need_taps('BEVDistillRelationLoss', 'student', student, ('bev', 'heatmap', 'reg'))
        need_taps('BEVDistillRelationLoss', 'teacher', teacher, ('bev',))
        heatmaps, regs = (_listed(student[name]) for name in ('heatmap', 'reg'))
        check_maps('BEVDistillRelationLoss', student['bev'], teacher['bev'])
        if not student['bev'].numel() or not teacher['bev'].numel():
            return zero_of(student['bev'])
        return self.compare(student['bev'], teacher['bev'],
                            predicted_places(heatmaps, regs, self.num_points))

    def compare(self, student, teacher, places):
        """The loss of two maps, (B, C, Y, X) and (B, C', Y', X'), at ``places`` (B, M, 2): x and y
        from -1 at the lower end of the range to 1 at the upper end."""
        if places.shape[:2].numel() < 2:
            return zero_of(student)
        student, teacher = prepare(student, teacher, resize=False)
        with full_precision(student):
            s, t = (F.normalize(self._project(side, _read(x, places.to(x))), dim=1)
                    for side, x in (('student', student), ('teacher', teacher)))
            logits = matmul(t[None], s.mT[None])[0] / self.T
            return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))

    def _project(self, side, rows):
        first, norm, act, last = getattr(self, f'{side}_encoder')
        rows = _linear(first, _linear(getattr(self, f'{side}_projection'), rows))
        return _linear(last, act(norm(rows)))

    def extra_repr(self):
        return f'T={self.T}, num_points={self.num_points}'


@torch.no_grad()
def predicted_places(heatmaps, regs, count):
    """Centers that a CenterHead predicts where its class scores are highest.

    Args:
        heatmaps, regs: for each task (B, K, Y, X) logits and (B, 2 or more, Y, X); the first two
            are x and y from the corner of the cell, in cells.
        count: of a sample; fewer where there are fewer cells.

    Returns:
        (B, M, 2) x and y, -1 at the lower end of the map and 1 at the upper end.
    """
    height, width = heatmaps[0].shape[2:]
    scores = torch.stack([x.float().amax(1) for x in heatmaps], 1)  # (B, tasks, Y, X)
    best = scores.flatten(1).topk(min(count, scores[0].numel()), 1).indices
    offsets = torch.stack([x[:, :2].float() for x in regs], 1).movedim(2, -1).flatten(1, 3)
    offsets = offsets.gather(1, best[..., None].expand(-1, -1, 2))
    cell = best % (height * width)
    x, y = cell % width + offsets[..., 0], cell.div(width, rounding_mode='floor') + offsets[..., 1]
    return torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)


def _read(x, places):
    """Rows (B * M, C) of a map (B, C, Y, X) at ``places`` (B, M, 2)."""
    found = F.grid_sample(x, places[:, :, None], 'bilinear', 'zeros', align_corners=False)
    return found.squeeze(3).transpose(1, 2).flatten(0, 1)


def _linear(layer, rows):
    """A linear layer of rows (N, C), in full precision backward, too."""
    return matmul(rows[None], layer.weight.mT[None])[0] + layer.bias


def _listed(x):
    return x if isinstance(x, (list, tuple)) else [x]


def _bev_channels(channels, side):
    number = channels.get('bev') if isinstance(channels, dict) else channels
    if not isinstance(number, int):
        raise ValueError(f'BEVDistillRelationLoss: {side}_channels={channels!r}: it needs the '
                         f'number of channels of the tap bev ({side}_tap=dict(bev=...))')
    return number
