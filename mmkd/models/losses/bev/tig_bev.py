"""TiG-BEV, target inner-geometry learning (Huang et al., "TiG-BEV: Multi-view BEV 3D Object
Detection via Target Inner-Geometry Learning", 2022, arXiv:2212.13979): the BEV features.

The depth within objects is tig_bev_depth.py.
"""
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..full_precision import full_precision, matmul
from ..maps import check_maps, empty_loss, prepare
from .footprints import check_boxes
from .sampling import read_bilinearly

#: boxes whose keypoints are compared at once: bounds the memory
AT_ONCE = 16


@MODELS.register_module()
class TiGBEVLoss(nn.Module):
    """How alike the keypoints of an object are, and how alike the channels are within it.

    Keypoints are a regular grid over each box's rectangle, enlarged on every side. For every box,

    * 'inter_keypoint': products of the features of every two keypoints, each row divided by its
      length; the squared difference of the two sides, summed over columns, is averaged over rows
      and boxes.
    * 'inter_channel': the same of the products of every two channels, where the student's
      features pass a 1x1 convolution first, which is the loss's own.

    Without a box both are 0 (the official code breaks off).

    Args:
        num_samples: keypoints along each side (24 are released, 16 the official default).
        enlarge_width: metres added on every side; below 0 none.
        inter_keypoint_weight: of 'inter_keypoint'.
        inter_channel_weight: of 'inter_channel'; 20 for BEVDet4D on R50. 0 leaves out the
            convolution, too.
        exact: False reads the maps where the official code does: its coordinates are those of
            another convention of corners, so that a keypoint is off by nothing at the lower end of
            the range and by a cell at the upper end. True reads at the keypoints.
        student_channels, teacher_channels: found by the dry run.

    Sizes: both maps are read at the same metres; neither is resized.
    """

    def __init__(self, num_samples=24, enlarge_width=1.6, inter_keypoint_weight=100.,
                 inter_channel_weight=10., exact=False, student_channels=None,
                 teacher_channels=None):
        super().__init__()
        if num_samples < 2:
            raise ValueError(f'num_samples={num_samples}: at least 2 keypoints along a side are '
                             'needed')
        self.num_samples, self.enlarge_width, self.exact = num_samples, enlarge_width, exact
        self.weights = dict(inter_keypoint=inter_keypoint_weight,
                            inter_channel=inter_channel_weight)
        self.embed = None
        if inter_channel_weight:
            if not isinstance(student_channels, int) or not isinstance(teacher_channels, int):
                raise ValueError(f'TiGBEVLoss: student_channels={student_channels!r}, '
                                 f'teacher_channels={teacher_channels!r}: two numbers are needed')
            self.embed = nn.Conv2d(student_channels, teacher_channels, 1)

    def forward(self, student, teacher, boxes_3d, bev_range):
        """Compares the keypoints of the boxes.

        Args:
            student: (B, C, Y, X).
            teacher: (B, C', Y', X').
            boxes_3d: of each sample (K, 7 or more): x, y, z, dx, dy, dz, yaw, metres and radians.
            bev_range: (x_min, y_min, x_max, y_max) of both maps, metres.

        Returns:
            dict: 'inter_keypoint' and 'inter_channel', each times its weight.

        Raises:
            ValueError: if batch sizes differ, or boxes are not those of the batch.
        """
        check_maps('TiGBEVLoss', student, teacher)
        if empty_loss(student, teacher) is not None:
            return {name: self._nothing(student) for name in self.weights}
        check_boxes('TiGBEVLoss', boxes_3d, len(student))
        size = student.shape[2:]
        student, teacher = (x.contiguous(memory_format=torch.channels_last)  # as it is read
                            for x in prepare(student, teacher, resize=False))
        totals = dict.fromkeys(self.weights, self._nothing(student))
        boxes_3d = [boxes[:, :7].to(student) for boxes in boxes_3d]
        finite = [boxes.isfinite().all(1) for boxes in boxes_3d]
        count = sum(known.sum() for known in finite).clamp(min=1)
        with full_precision(student):
            for i, (boxes, known) in enumerate(zip(boxes_3d, finite, strict=True)):
                grid = self.keypoints(boxes, bev_range, size).nan_to_num(0., 0., 0.)
                for some, kept in zip(grid.split(AT_ONCE), known.split(AT_ONCE), strict=True):
                    # Products of keypoints are made anew in the backward pass, not kept.
                    parts = checkpoint(self._compare, student[i:i + 1], teacher[i:i + 1], some,
                                       use_reentrant=False, preserve_rng_state=False)
                    for name, value in parts.items():
                        totals[name] = totals[name] + (value * kept).sum()
        return {name: weight * totals[name] / count for name, weight in self.weights.items()}

    def _nothing(self, student):
        """Zero, on which the student and the convolution depend."""
        own = [] if self.embed is None else list(self.embed.parameters())
        return sum((zero_of(x) for x in own), zero_of(student))

    def _compare(self, student, teacher, grid):
        """Of maps of one sample at a grid (k, S, S, 2): values of k boxes by the part's name."""
        student, teacher = self.read(student, grid), self.read(teacher, grid)
        parts = {}
        if self.weights['inter_keypoint']:
            parts['inter_keypoint'] = _unlikeness(student.flatten(2).mT, teacher.flatten(2).mT)
        if self.embed is not None:
            parts['inter_channel'] = _unlikeness(self.embed(student).flatten(2),
                                                 teacher.flatten(2))
        return parts

    @staticmethod
    def read(x, grid):
        """(k, C, S, S): a map (1, C, Y, X) at a grid (k, S, S, 2), bilinearly; zeros beyond it."""
        found = read_bilinearly(x[0], grid.flatten(0, 2).to(x))
        return found.view(*grid.shape[:3], x.shape[1]).movedim(3, 1)

    @torch.no_grad()
    def keypoints(self, boxes, bev_range, size):
        """Where the keypoints of boxes lie.

        Args:
            boxes: (K, 7) x, y, z, dx, dy, dz, yaw.
            bev_range: (x_min, y_min, x_max, y_max), metres.
            size: (Y, X) cells of the student's map.

        Returns:
            (K, S, S, 2) x and y from -1 to 1; rows go along the width, columns against the
            heading.
        """
        extra = 2 * max(self.enlarge_width, 0.)
        steps = torch.linspace(-.5, .5, self.num_samples, dtype=boxes.dtype, device=boxes.device)
        along = (boxes[:, 3, None, None] + extra) * -steps
        across = (boxes[:, 4, None, None] + extra) * steps[:, None]
        cos, sin = boxes[:, 6, None, None].cos(), boxes[:, 6, None, None].sin()
        places = torch.stack([along * cos - across * sin, along * sin + across * cos], -1)
        places = places + boxes[:, None, None, :2]
        low, high = boxes.new_tensor(bev_range).split(2)
        whole = high - low
        if not self.exact:
            cells = boxes.new_tensor([size[1], size[0]])
            whole = whole * (cells - 1).clamp(min=1) / cells
        return (2 * (places - low) / whole - 1).clamp(-1, 1)

    def extra_repr(self):
        return f'num_samples={self.num_samples}, weights={self.weights}, exact={self.exact}'


def _unlikeness(student, teacher):
    """(k,) mean over rows of the squared difference of the products of rows (k, R, D), each row of
    which is divided by its length."""
    one, other = (F.normalize(matmul(x, x.mT), dim=2) for x in (student, teacher))
    return (one - other).square().sum(2).mean(1)
