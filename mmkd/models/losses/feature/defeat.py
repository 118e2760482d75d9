"""DeFeat, decoupled features (Guo et al., "Distilling Object Detectors via Decoupled Features",
CVPR 2021): objects and background teach with weights of their own.

This is the part on the neck; :class:`DeFeatRoILoss` is that on the RoIs' class scores. The
student's maps pass a 3x3 convolution per level first
(``ConvConnector(kernel_size=3, init_std=1e-4)``).
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..boxes import covered, pyramid_levels, truncated_ranges
from ..maps import check_levels, empty_loss, nearest_stride, prepare


@MODELS.register_module()
class DeFeatLoss(nn.Module):
    """Squared error on objects and on background, each averaged over its own cells.

    An object belongs to one level, by its size: floor(log2(sqrt(area) / 56)). Everywhere else its
    cells are background. On its level it covers the cells from the truncated corner to the other
    truncated corner, which is excluded; a box without width or height there has one cell. A
    level's parts are divided by 2 * C * cells, at least 1, and averaged over the levels.

    Scale per level: a mean over cells and channels, whatever the level's size; a level without
    objects has a part of 0 for them.

    Args:
        fg_weight: factor of the error on objects; 3 in the released config (VOC).
        bg_weight: factor of the error on background; 12 there.
        wrap: what boxes left of or above the image cover: nothing, or as in the official code
            cells counted from the far side, as its slices do. Boxes clipped to their images, as
            all published runs have, are the same in both.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.
    """

    pyramid = True
    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, fg_weight=3., bg_weight=12., wrap=False):
        super().__init__()
        self.fg_weight = fg_weight
        self.bg_weight = bg_weight
        self.wrap = wrap

    def forward(self, student, teacher, boxes, padded_size, strides=None):
        """Return the two losses.

        Args:
            student: a list of (N, C, H, W), one per level, after the convolutions; or one map.
            teacher: a list of (N, C, H', W').
            boxes: N tensors (n, 4), xyxy in pixels of the padded batch.
            padded_size: (h, w) of the batch.
            strides: of the levels, None for one map, whose stride is then found by its size.

        Returns:
            dict: ``fg`` and ``bg``, scalars.

        Raises:
            ValueError: if batch sizes, channels or the numbers of levels differ.
        """
        students, teachers = check_levels('DeFeatLoss', student, teacher, same_channels=True)
        strides = strides or [nearest_stride(x, padded_size) for x in teachers]
        masks = self.masks([x.shape[2:] for x in teachers], boxes, strides)
        losses = [self.level(*sides) for sides in zip(students, teachers, masks, strict=True)]
        fg, bg = (sum(part) / len(losses) for part in zip(*losses, strict=True))
        return dict(fg=self.fg_weight * fg, bg=self.bg_weight * bg)

    def level(self, student, teacher, mask):
        """Both parts of one level, before their weights; ``mask``: (N, H', W') bool, objects."""
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty, empty
        student, teacher = prepare(student, teacher)
        error = (student - teacher).square().sum(1)
        return [(error * cells).sum() / (2 * student.shape[1] * cells.sum()).clamp(min=1)
                for cells in (mask, ~mask)]

    @torch.no_grad()
    def masks(self, sizes, boxes, strides):
        """The cells of objects: (N, H, W) bool for each of the levels' ``sizes`` (H, W)."""
        masks = [[] for _ in sizes]
        for found in boxes:
            levels = pyramid_levels(found, len(sizes))
            for i, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
                ranges = truncated_ranges(found[levels == i], stride, size, self.wrap)
                masks[i].append(covered(ranges, size).any(0))
        return [torch.stack(mask) if mask else torch.zeros(0, *size, dtype=torch.bool)
                for mask, size in zip(masks, sizes, strict=True)]

    def extra_repr(self):
        return f'fg_weight={self.fg_weight}, bg_weight={self.bg_weight}, wrap={self.wrap}'
