"""Pixel-wise knowledge distillation on logits (Hinton et al., 2015, applied densely).

Every pixel's class distribution of the student follows the teacher's. Code bases
agree on the divergence and differ in the divisor; see :class:`KDLoss`.
"""
from torch import Tensor, nn

from mmkd.registry import MODELS

from ..maps import check_maps, empty_loss, two_classes
from ..resize import resize_to
from ..softmax_kl import softmax_kl

REDUCTIONS = ('pixel', 'batch', 'element')


@MODELS.register_module()
class KDLoss(nn.Module):
    """KL(teacher || student) over classes, summed and divided.

    ==========  =========================  ===========================================
    reduction   divisor                    as in
    ==========  =========================  ===========================================
    pixel       N * H * W                  CIRKD and the methods built on its code base
    batch       N                          mmrazor (H * W times larger)
    element     N * C * H * W              IFVD, TorchDistiller (``tau_squared=False``)
    ==========  =========================  ===========================================

    A weight copied from one of them is only right with its divisor. No code base masks
    ignored pixels here, and neither does this class.

    Logits of one channel (two classes told apart by a sigmoid) are compared as (1 - p, p), C is
    then 2; the other side may have one channel or two, in the order background, foreground.

    Args:
        tau: temperature of both softmaxes.
        reduction: 'pixel', 'batch' or 'element'.
        tau_squared: multiply by tau ** 2, which keeps the size of the gradient when tau
            changes.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.

    Raises:
        ValueError: if ``tau`` is not positive or ``reduction`` is unknown.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built
    two_classes = True  # ... but for one channel against two

    def __init__(self, tau: float = 1., reduction: str = 'pixel', tau_squared: bool = True):
        super().__init__()
        if not tau > 0:
            raise ValueError(f'tau={tau}: the temperature must be greater than 0')
        if reduction not in REDUCTIONS:
            raise ValueError(f'reduction={reduction!r}: use one of {REDUCTIONS}')
        self.tau = tau
        self.reduction = reduction
        self.tau_squared = tau_squared

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            student: logits (N, C, H, W); resized bilinearly to the teacher's H, W if they
                differ.
            teacher: logits (N, C, H, W), no gradient.

        Raises:
            ValueError: if they are no maps, or batch sizes or class counts differ.
        """
        check_maps('KDLoss', student, teacher)
        student, teacher = two_classes(student, teacher)
        check_maps('KDLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student = resize_to(student, teacher.shape[2:])
        n, c, h, w = student.shape
        divisor = {'pixel': n * h * w, 'batch': n, 'element': n * c * h * w}[self.reduction]
        factor = self.tau ** 2 if self.tau_squared else 1.
        return softmax_kl(student, teacher, dim=1, tau=self.tau, scale=factor / divisor)
