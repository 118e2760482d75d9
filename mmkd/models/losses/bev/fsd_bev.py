"""FSD-BEV (Jiang et al., "FSD-BEV: Foreground Self-Distillation for Multi-view 3D Object
Detection", ECCV 2024): its loss between two maps seen from above.

The method is a self-distillation: the teacher is the same network with the depth of the LiDAR and a
mask of the foreground in the place of its own depth, trained along with the student, and the
gradient of this loss flows into both. Here the loss is a term between a student and a frozen
teacher. The teacher branch, for which the code needs the points' classes (nuScenes-lidarseg), and
the pasting of scenes (BEV-paste) are not here.
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..maps import check_maps, empty_loss, prepare


@MODELS.register_module()
class FSDBEVLoss(nn.Module):
    """Squared error of the features, both divided by the length of the teacher's at each cell.

    Summed over channels and averaged over samples and cells. So a cell counts by how far the
    student is off in parts of the teacher's feature, however large that is.

    Args:
        eps: added to the length. Where the teacher's feature is zero, the student's is divided by
            it alone: of a teacher with empty cells it has to be larger.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, eps=1e-7):
        super().__init__()
        if not eps > 0:
            raise ValueError(f'eps={eps}: a number above 0 is needed')
        self.eps = eps

    def forward(self, student, teacher):
        """Compares the maps.

        Args:
            student: (B, C, Y, X), after its connector.
            teacher: (B, C, Y', X').

        Returns:
            The scalar loss.

        Raises:
            ValueError: if batch sizes or channels differ.
        """
        check_maps('FSDBEVLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student, teacher = prepare(student, teacher)
        length = torch.linalg.vector_norm(teacher, dim=1, keepdim=True) + self.eps
        return ((student - teacher) / length).square().sum(1).mean()

    def extra_repr(self):
        return f'eps={self.eps}'
