"""FD3D's repository (Zeng et al., "Distilling Focal Knowledge from Imperfect Expert for 3D Object
Detection", CVPR 2023): its HeatmapDistiller.

The method of the paper, focal distillation by queries and generated features, has no public code
and is not here. The HeatmapDistiller, which the authors published in its place, has two parts: this
loss on the map seen from above, and channel-wise distillation of the image neck, which is
``CWDLoss(tau=2., divergence='cross_entropy')``.
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..maps import check_maps, empty_loss, prepare, ratio
from ..resize import resize_to


@MODELS.register_module()
class FD3DHeatmapLoss(nn.Module):
    """Squared error of the feature seen from above near the objects.

    Both maps are multiplied by the heatmap of the boxes, the largest over tasks and classes; the
    squared differences (in which the heatmap is squared, too) are summed over samples, channels
    and cells and divided by the sum of the heatmap. Without a box the loss is 0, and the official
    code's is 0 times 1 / 0.

    Sizes: the student's map and the heatmap are resized bilinearly to the teacher's cells. (The
        official student passes a transposed convolution of stride 2, from 100 x 100 to 200 x 200.)
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def forward(self, student, teacher, gt_heatmaps):
        """Compares the maps near the objects.

        Args:
            student: (B, C, Y, X), after its connector.
            teacher: (B, C, Y', X').
            gt_heatmaps: for each task of the student's head (B, K, Y'', X'') in [0, 1].

        Returns:
            The scalar loss.

        Raises:
            ValueError: if batch sizes or channels differ.
        """
        check_maps('FD3DHeatmapLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student, teacher = prepare(student, teacher)
        mask = torch.cat([x.detach().amax(1, keepdim=True) for x in gt_heatmaps], 1)
        mask = resize_to(mask.amax(1, keepdim=True), teacher.shape[2:]).to(teacher)
        total = mask.sum()
        error = ((student - teacher) * mask).square().sum()
        return ratio(error, total)
