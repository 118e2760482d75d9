"""DeFeat on the class scores of RoIs (Guo et al., "Distilling Object Detectors via Decoupled
Features", CVPR 2021): the RoIs that hold an object and the others teach with weights of their own.

The paper has it; the released config sets its weights and leaves it off. There the RoIs are the
teacher's, here they are the student's, as for every method on RoIs.
"""
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..maps import check_rows
from ..softmax_kl import softmax_kl


@MODELS.register_module()
class DeFeatRoILoss(nn.Module):
    """tau ** 2 * KL(teacher || student), averaged over the RoIs of objects and of background.

    Where there is no RoI of a kind, its part is zero.

    Args:
        fg_weight: factor of the part on objects; 2 in the released config.
        bg_weight: factor of the part on background; 2 there.
        tau: temperature for the RoIs of objects.
        bg_tau: temperature for those of background.
        largest_is_background: the official code takes the largest label of the batch for
            background, so that in a batch without background its last class is it. False: the
            last of the K + 1 classes is, always.

    Sizes: rows have none.

    Raises:
        ValueError: if a temperature is not positive.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built
    rows = True  # it compares (R, K + 1)

    def __init__(self, fg_weight=2., bg_weight=2., tau=1., bg_tau=1., largest_is_background=False):
        super().__init__()
        if not (tau > 0 and bg_tau > 0):
            raise ValueError(f'tau={tau}, bg_tau={bg_tau}: temperatures must be greater than 0')
        self.fg_weight = fg_weight
        self.bg_weight = bg_weight
        self.tau = tau
        self.bg_tau = bg_tau
        self.largest_is_background = largest_is_background

    def forward(self, student, teacher, roi_labels):
        """Return the two losses.

        Args:
            student: class logits (R, K + 1), the last one of background.
            teacher: class logits (R, K + 1) of the same RoIs, no gradient.
            roi_labels: (R,) int64, K for background.

        Returns:
            dict: ``fg`` and ``bg``, scalars.

        Raises:
            ValueError: if they are no rows, or the numbers of rows or of classes differ.
        """
        check_rows('DeFeatRoILoss', student, teacher, same_channels=True)
        if student.dim() > 2 or len(roi_labels) != len(student):
            raise ValueError(f'DeFeatRoILoss: class scores of shape {tuple(student.shape)} and '
                             f'{len(roi_labels)} labels, but (R, K + 1) and R are expected: tap '
                             "'roi_cls'")
        background = student.shape[1] - 1
        if self.largest_is_background and len(roi_labels):
            background = int(roi_labels.max())
        fg = self.part(student, teacher, roi_labels < background, self.tau)
        bg = self.part(student, teacher, roi_labels == background, self.bg_tau)
        return dict(fg=self.fg_weight * fg, bg=self.bg_weight * bg)

    def part(self, student, teacher, chosen, tau):
        """The mean KL of the ``chosen`` rows, (R,) bool."""
        count = int(chosen.sum())
        if not count:
            return zero_of(student)
        return softmax_kl(student[chosen], teacher[chosen], 1, tau, tau ** 2 / count)

    def extra_repr(self):
        return (f'fg_weight={self.fg_weight}, bg_weight={self.bg_weight}, tau={self.tau}, '
                f'bg_tau={self.bg_tau}, largest_is_background={self.largest_is_background}')
