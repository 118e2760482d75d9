"""LiDAR Distillation (Wei et al., "LiDAR Distillation: Bridging the Beam-Induced Domain Gap for 3D
Object Detection", ECCV 2022): the teacher sees all beams of the LiDAR, the student fewer."""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..boxes import covered
from ..maps import check_maps, empty_loss, prepare
from .footprints import check_boxes


@MODELS.register_module()
class LiDARDistillationLoss(nn.Module):
    """Distance of the features in objects' rectangles.

    At each cell the length of S - T over the channels; its mean over the cells of each box'
    rectangle, added up over the boxes and divided by the batch size and by the number of boxes of
    the sample with the most. The rectangle is as long along x as the box along its heading,
    whatever its yaw, and has the cells whose lower edge is in it, both ends included: as in the
    official code. A box without such a cell adds 0, and without boxes the loss is 0.

    The official boxes (mode 'roi', the default) are the teacher's proposals, padded to a number of
    slots: a slot without a box then counts like a box of no size at the origin. Here they are
    the annotated ones; for its mode 'gt' the official code multiplies the sum by the rectangles a
    second time.

    Args:
        mode: 'boxes', or 'all': the mean over all cells.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, mode='boxes'):
        super().__init__()
        if mode not in ('boxes', 'all'):
            raise ValueError(f"LiDARDistillationLoss: mode={mode!r}, expected 'boxes' or 'all'")
        self.mode = mode
        self.unused_extras = () if mode == 'boxes' else ('boxes_3d', 'bev_range')

    def forward(self, student, teacher, boxes_3d=None, bev_range=None):
        """Compares the maps.

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
        check_maps('LiDARDistillationLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        distance = self.distance(*prepare(student, teacher))
        if self.mode == 'all':
            return distance.mean()
        check_boxes('LiDARDistillationLoss', boxes_3d, len(student))
        slots = max([1, *map(len, boxes_3d)])
        weight = torch.stack([self.shares(boxes.to(distance), bev_range, distance.shape[1:]).sum(0)
                              for boxes in boxes_3d])
        return (distance * weight).sum() / len(distance) / slots

    @staticmethod
    def distance(student, teacher):
        """(B, Y, X), the length of S - T; equal features have no slope."""
        return torch.linalg.vector_norm(student - teacher, dim=1)

    @staticmethod
    def shares(boxes, bev_range, size):
        """(K, Y, X): 1 / cells of each box (K, 7 or more) in its rectangle, on a map of ``size``
        (Y, X)."""
        low, high = boxes.new_tensor(bev_range).split(2)
        cell = (high - low) / boxes.new_tensor([size[1], size[0]])
        edges = [(boxes[:, :2] + sign * boxes[:, 3:5] / 2 - low) / cell for sign in (-1, 1)]
        inside = covered(torch.cat([edges[0].ceil(), edges[1].floor() + 1], 1), size)
        return inside / inside.sum((1, 2), keepdim=True).clamp(min=1).to(boxes)

    def extra_repr(self):
        return f'mode={self.mode!r}'
