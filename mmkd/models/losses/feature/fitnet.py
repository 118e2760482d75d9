"""FitNet hint loss (Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015).

The paper trains the student's lower half on half the squared error in a stage of its own. The
code that segmentation papers compare with (CIRKD's ``losses/fitnet.py``) is one-stage: a 1x1
convolution without bias on the student's map, always, even with equal channels, and the mean of
the squared error. This is that second form; the convolution is
``ConvConnector(bias=False)``, and CIRKD's weight is 10.
"""
from torch import nn

from mmkd.registry import MODELS

from ..maps import check_maps, empty_loss, prepare


@MODELS.register_module()
class FitNetLoss(nn.Module):
    """Mean squared error between a student's map and the teacher's hint.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def forward(self, student, teacher):
        """Compares the maps; a student of another size is resized bilinearly.

        Args:
            student: (N, C, H, W), after its connector.
            teacher: (N, C, H', W').

        Returns:
            The mean over N, C, H' and W' of the squared difference.

        Raises:
            ValueError: if batch sizes or channels differ.
        """
        check_maps('FitNetLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student, teacher = prepare(student, teacher)
        return (student - teacher).square().mean()
