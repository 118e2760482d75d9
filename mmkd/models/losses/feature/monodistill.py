"""MonoDistill (Chong et al., "MonoDistill: Learning Spatial Features for Monocular 3D Object
Detection", ICLR 2022): the features. The teacher is a detector like the student that sees the
LiDAR's depth map in the place of the picture."""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..boxes import covered, on_map
from ..closed_form import zero_of
from ..maps import check_levels, prepare
from ..relation.gram import gram_l1
from ..resize import resize_to


@MODELS.register_module()
class MonoDistillLoss(nn.Module):
    """Features in the objects' boxes, and how alike the features of all pairs of cells are.

    * 'imitation': half the squared difference, averaged over the channels and over the cells that
      lie in a box of the picture and where the teacher's feature is not zero, divided by the batch
      size; added up over the levels. Boxes are cut to whole cells of a level, their end excluded.
    * 'affinity': both sides' maps are resized bilinearly to the size of the last level. The mean
      of |s_i . s_j - t_i . t_j| over samples and pairs of cells, divided by the batch size (as in
      the official code, where the mean has divided by it before); added up over the levels.

    Where the teacher is NaN there is no difference, and the cell has no part in 'affinity' (whose
    official value is then NaN). Without boxes 'imitation' is 0.

    No detector of mmdet3d sees depth maps: this is a loss for a teacher of yours. It takes
    pyramids, officially of strides 8, 16 and 32, the student's fused from coarse to fine and behind
    an adapter for each level (3x3 convolution, ReLU, 1x1 convolution). The official distillation
    of the head (L1 of the outputs near objects) is not here.

    Args:
        imitation_weight: of 'imitation'; with 0 no boxes are needed.
        affinity_weight: of 'affinity'.

    Sizes: the student's maps are resized bilinearly to the teacher's, level by level.
    """

    pyramid = True  # 'affinity' needs the size of the last level
    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, imitation_weight=10., affinity_weight=1.):
        super().__init__()
        self.imitation_weight, self.affinity_weight = imitation_weight, affinity_weight
        self.unused_extras = () if imitation_weight else ('boxes', 'padded_size')

    def forward(self, student, teacher, boxes=None, padded_size=None):
        """Compares the pyramids.

        Args:
            student: list of (B, C, H, W), fine to coarse, after its adapters.
            teacher: list of (B, C, H', W').
            boxes: of each image (n, 4), xyxy in pixels of the padded batch.
            padded_size: (h, w) of the padded batch.

        Returns:
            dict: 'imitation' and 'affinity', each times its weight, unless that is 0.

        Raises:
            ValueError: if levels, batch sizes or channels differ.
        """
        student, teacher = check_levels('MonoDistillLoss', student, teacher, same_channels=True)
        pairs = [prepare(s, t) if s.numel() and t.numel() else None
                 for s, t in zip(student, teacher, strict=True)]
        parts = {}
        if self.imitation_weight:
            found = [zero_of(s) if pair is None else self.imitation(
                *pair, [on_map(one, padded_size, pair[1].shape[2:]) for one in boxes])
                for s, pair in zip(student, pairs, strict=True)]
            parts['imitation'] = self.imitation_weight * sum(found)
        if self.affinity_weight:
            size = teacher[-1].shape[2:]
            found = [zero_of(s) if pair is None or not min(size) else self.affinity(*pair, size)
                     for s, pair in zip(student, pairs, strict=True)]
            parts['affinity'] = self.affinity_weight * sum(found)
        return parts

    @staticmethod
    def imitation(student, teacher, boxes):
        """'imitation' of one level: (B, C, H, W) of both sides, and of each image the boxes (n, 4)
        in cells, xyxy."""
        size = student.shape[2:]
        inside = torch.stack([covered(one.to(student).trunc(), size).any(0) for one in boxes])
        inside &= (teacher != 0).any(1)
        gap = torch.where(teacher.isnan(), 0., student - teacher)
        error = torch.where(inside, gap.square().mean(1), 0.)
        return .5 * error.sum() / inside.sum().clamp(min=1) / len(student)

    @staticmethod
    def affinity(student, teacher, size):
        """'affinity' of one level: (B, C, H, W) of both sides, and the size of the last level."""
        return gram_l1(resize_to(student, size), resize_to(teacher, size)) / len(student) ** 2

    def extra_repr(self):
        return f'imitation_weight={self.imitation_weight}, affinity_weight={self.affinity_weight}'

