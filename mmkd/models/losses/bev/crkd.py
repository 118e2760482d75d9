"""CRKD (Zhao, Song, Skinner, "CRKD: Enhanced Camera-Radar Object Detection with Cross-modality
Knowledge Distillation", CVPR 2024).

How alike cells are (affinity) and features in boxes; the heads are in crkd_response.py. The fourth
part, 100 times the absolute difference of the radar's activation and the mean heatmap of the
LiDAR, needs a student with a radar branch, which mmdet3d has not, and is not here. Maps are
(B, C, Y, X), as in mmdet3d; the official ones are (B, C, X, Y).
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..boxes import covered
from ..full_precision import full_precision
from ..maps import check_maps, empty_loss, prepare
from ..relation.gram import gram_l1
from ..resize import resize_to
from .footprints import check_boxes


@MODELS.register_module()
class CRKDAffinityLoss(nn.Module):
    """How alike the features of all pairs of cells are, on maps of a few sizes.

    Both maps are resized bilinearly to each of ``sizes`` cells a side, the student's goes through
    an adapter of its own (3x3 convolution, ReLU, 1x1 convolution, which keep its channels), and the
    mean of |s_i . s_j - t_i . t_j| over samples and pairs of cells is divided by the batch size
    (as in the official code, whose mean has divided by it before) and added up over the sizes.
    The official weight is 0.25, of the map after the fusion of camera and radar.

    Args:
        sizes: cells a side.
        adapt: whether the student's map goes through an adapter.
        student_channels: found by the dry run.

    Sizes: any; channels may differ.
    """

    def __init__(self, sizes=(32, 16, 8, 4), adapt=True, student_channels=None):
        super().__init__()
        if not sizes or min(sizes) < 1:
            raise ValueError(f'CRKDAffinityLoss: sizes={sizes}, expected numbers of cells')
        self.sizes = tuple(sizes)
        if adapt and not isinstance(student_channels, int):
            raise ValueError(f'CRKDAffinityLoss: student_channels={student_channels!r}, expected '
                             'the number of channels of one map')
        self.adapters = nn.ModuleList(nn.Sequential(
            nn.Conv2d(student_channels, student_channels, 3, padding=1), nn.ReLU(),
            nn.Conv2d(student_channels, student_channels, 1)) for _ in sizes) if adapt else None

    def forward(self, student, teacher):
        """Compares the maps.

        Args:
            student: (B, C, Y, X).
            teacher: (B, C', Y', X').

        Returns:
            The scalar loss.

        Raises:
            ValueError: if batch sizes differ.
        """
        check_maps('CRKDAffinityLoss', student, teacher)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student, teacher = prepare(student, teacher, resize=False)
        total = 0.
        with full_precision(student):
            for i, size in enumerate(self.sizes):
                s, t = (resize_to(x, (size, size)) for x in (student, teacher))
                total = total + gram_l1(self.adapters[i](s) if self.adapters else s, t)
        return total / len(student) ** 2

    def extra_repr(self):
        return f'sizes={self.sizes}'


@MODELS.register_module()
class CRKDFeatureLoss(nn.Module):
    """Half the squared error of the features in the boxes, averaged over channels and cells.

    A cell counts where it lies in the upright rectangle around a box and the teacher's feature is
    not zero (NaN is no difference); the mean over these cells of all samples is divided by the
    batch size. Edges are cut to whole cells, the upper one excluded. Without a cell the loss is 0.
    The official weight is 10, of the maps before and after the fusion.

    Boxes are enlarged by a part of each side: a quarter from 20 m on, half from 30 m on; and a
    quarter above 0.3 m/s, half from 0.8 m/s on; by 0.5 m at least and 4 m at most.

    The official code differs in three things. It looks at vx for one side and at vy for the other,
    here at the speed; its rectangle spans two corners of one edge in each direction, and is the
    less of a box the more this is turned; and it ends at cell 179 of a grid of 180.

    Args:
        enlarge: whether boxes are enlarged. False: as they are.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, enlarge=True):
        super().__init__()
        self.enlarge = enlarge

    def forward(self, student, teacher, boxes_3d, bev_range):
        """Compares the maps in the boxes.

        Args:
            student: (B, C, Y, X), after its connector.
            teacher: (B, C, Y', X').
            boxes_3d: of each sample (K, 7 or 9): x, y, z, dx, dy, dz, yaw, and the velocity vx, vy;
                metres, radians, m/s.
            bev_range: (x_min, y_min, x_max, y_max) of both maps, metres.

        Returns:
            The scalar loss.

        Raises:
            ValueError: if batch sizes or channels differ, or boxes are not those of the batch.
        """
        check_maps('CRKDFeatureLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        check_boxes('CRKDFeatureLoss', boxes_3d, len(student))
        student, teacher = prepare(student, teacher)
        return self.compare(student, teacher, [
            self.rectangles(one.to(student), bev_range, student.shape[2:]) for one in boxes_3d])

    def rectangles(self, boxes, bev_range, size):
        """(K, 4) x0, y0, x1, y1 of boxes (K, 7 or 9), in cells of a map of ``size`` (Y, X)."""
        sides = boxes[:, 3:5]
        if self.enlarge:
            distance = boxes[:, :2].norm(dim=1, keepdim=True)
            part = .25 * (distance > 20) + .25 * (distance >= 30)
            if boxes.shape[1] >= 9:
                speed = boxes[:, 7:9].norm(dim=1, keepdim=True).nan_to_num(0.)
                part = part + .25 * (speed > .3) + .25 * (speed >= .8)
            sides = sides + (sides * part).clamp(.5, 4)
        cos, sin = boxes[:, 6:7].cos().abs(), boxes[:, 6:7].sin().abs()
        half = torch.cat([sides[:, :1] * cos + sides[:, 1:] * sin,
                          sides[:, :1] * sin + sides[:, 1:] * cos], 1) / 2
        low, high = boxes.new_tensor(bev_range).split(2)
        cell = (high - low) / boxes.new_tensor([size[1], size[0]])
        edges = boxes[:, :2] - half, boxes[:, :2] + half
        return torch.cat([(edge - low) / cell for edge in edges], 1)

    @staticmethod
    def compare(student, teacher, rectangles):
        """The loss of maps (B, C, Y, X), for (K, 4) rectangles of each sample in cells."""
        inside = torch.stack([covered(one.trunc(), student.shape[2:]).any(0)
                              for one in rectangles])
        inside &= (teacher != 0).any(1)
        gap = torch.where(teacher.isnan(), 0., student - teacher)
        error = torch.where(inside, gap.square().mean(1), 0.)
        return .5 * error.sum() / inside.sum().clamp(min=1) / len(student)
