"""PKD, distillation via the Pearson correlation (Cao et al., "PKD: General Distillation Framework
for Object Detectors via Pearson Correlation Coefficient", NeurIPS 2022).

Both maps are standardised, then compared by half their mean squared error, which is 1 - r for the
Pearson correlation r of a channel, up to the factor n / (n - 1) of the unbiased deviation. Formula
and defaults are those of the authors' code in mmrazor.
"""
from torch import nn

from mmkd.registry import MODELS

from ..maps import check_maps, empty_loss, prepare
from ..resize import resize_to


@MODELS.register_module()
class PKDLoss(nn.Module):
    """Half the mean squared error of maps that are standardised channel by channel.

    Mean and deviation of a channel are over the images of one process together, padding
    included, so the value depends (a little) on the batch size. A channel that is constant
    becomes 0; where it is the student's, its gradient is 1e6 times that of a channel of deviation
    1, as in the official code. Where a channel has one value in all (one image of one cell), there
    is no deviation, the official value is NaN, and this one 0.

    Scale per level: each level is at most about 2, whatever its size, so all weigh the same.

    Args:
        resize_stu: which map is resized where sizes differ: the student's, or the teacher's.

    Sizes: the student's map is resized bilinearly to the teacher's height and width, or, with
        resize_stu=False, the teacher's to the student's.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, resize_stu=True):
        super().__init__()
        self.resize_stu = resize_stu

    def forward(self, student, teacher):
        """Compares the standardised maps.

        Args:
            student: (N, C, H, W).
            teacher: (N, C, H', W').

        Returns:
            Half the mean over everything of the squared difference.

        Raises:
            ValueError: if batch sizes or channels differ.
        """
        check_maps('PKDLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student, teacher = prepare(student, teacher, resize=self.resize_stu)
        teacher = resize_to(teacher, student.shape[2:])
        return (standardised(student) - standardised(teacher)).square().mean() / 2

    def extra_repr(self):
        return f'resize_stu={self.resize_stu}'


def standardised(x):
    """(N, C, H, W) to (C, N*H*W), each row of mean 0 and deviation 1 (or 0, if constant)."""
    rows = x.transpose(0, 1).flatten(1)
    unbiased = rows.shape[1] > 1
    deviation = rows.std(dim=1, correction=int(unbiased), keepdim=True)
    return (rows - rows.mean(dim=1, keepdim=True)) / (deviation + 1e-6)
