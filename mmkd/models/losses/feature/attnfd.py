"""AttnFD, attention-guided feature distillation (Mansourian et al., 2024).

Both maps are refined by CBAM (``CBAMConnector``), the student's also projected to the teacher's
channels. The loss of one tap compares directions: each map is divided by its L2 norm, taken
over the WHOLE batch tensor (the paper's text reads as one norm per sample; the published
numbers come from the global one). A method has three such terms, of weight 2: backbone
stage 4 before its ReLU, ASPP, and the decoder before its classifier.
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..maps import check_maps, empty_loss, prepare


def unit(x):
    """``x`` divided by its global L2 norm; zeros stay zeros, where 0 / 0 would be NaN."""
    norm = torch.linalg.vector_norm(x)
    return x / torch.where(norm > 0, norm, torch.ones_like(norm))


@MODELS.register_module()
class AttnFDLoss(nn.Module):
    """Squared distance of two maps of unit length, for one tap.

    Args:
        detach_teacher: whether the gradient stops at the teacher's map. The official code does
            not stop it; it changes nothing there, since no teacher weight is in an optimiser.
            False trains a learnable CBAM on the teacher's side along with the student.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, detach_teacher=True):
        super().__init__()
        self.detach_teacher = detach_teacher

    def forward(self, student, teacher):
        """Compares the maps; a student of another size is resized bilinearly.

        Args:
            student: (N, C, H, W), refined and projected.
            teacher: (N, C, H', W'), refined.

        Returns:
            The sum of the squared difference of the two unit tensors, divided by N.

        Raises:
            ValueError: if batch sizes or channels differ.
        """
        check_maps('AttnFDLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student, teacher = prepare(student, teacher, detach=self.detach_teacher)
        return (unit(student) - unit(teacher)).square().sum() / teacher.shape[0]

    def extra_repr(self):
        return f'detach_teacher={self.detach_teacher}'
