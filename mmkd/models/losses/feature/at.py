"""AT, attention transfer (Zagoruyko and Komodakis, ICLR 2017).

A(x) is the mean over channels of |x|^p, flattened and divided by its L2 norm, for each sample.
The paper writes |x|^p; the official code takes x^p, which is the same for an even p, and has
only been used with p=2. The loss is the mean of the squared difference over all positions, so
its value is at most 2/(H*W), which is why published weights are 1e3 to 1e4.

Where sizes differ, RepDistiller pools the larger map to a square as high as the smaller one:
with maps that are not square this fails there. Here the larger map is pooled to the smaller
one's height and width, which is the same wherever RepDistiller's runs.
"""
import torch.nn.functional as F
from torch import nn

from mmkd.registry import MODELS

from ..maps import check_maps, empty_loss, prepare


@MODELS.register_module()
class ATLoss(nn.Module):
    """Distance between the spatial attention maps of student and teacher.

    Args:
        p: the power, at least 1.
        signed: whether an odd power keeps its sign, as the official code does.

    Sizes: the larger map is averaged (adaptive pooling) to the smaller one's height and width,
        whichever side it is.

    Raises:
        ValueError: if p is below 1, or signed and not a whole number.
    """

    def __init__(self, p=2, signed=False):
        super().__init__()
        if not p >= 1:
            raise ValueError(f'p={p!r}: expected a power of at least 1; below it the gradient at '
                             'zero is infinite. The paper and all published runs use p=2')
        if signed and p != int(p):
            raise ValueError(f'p={p!r} with signed=True: a negative value has no such power. '
                             'Give a whole number or signed=False')
        self.p = p
        self.signed = signed

    def forward(self, student, teacher):
        """Compares the attention maps; channels may differ, the larger map is pooled.

        Args:
            student: (N, Cs, H, W).
            teacher: (N, Ct, H', W').

        Returns:
            The mean over samples and positions of the squared difference.

        Raises:
            ValueError: if batch sizes differ.
        """
        check_maps('ATLoss', student, teacher)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        student, teacher = prepare(student, teacher, resize=False)
        if tuple(student.shape[2:]) > tuple(teacher.shape[2:]):
            student = F.adaptive_avg_pool2d(student, teacher.shape[2:])
        elif student.shape[2:] != teacher.shape[2:]:
            teacher = F.adaptive_avg_pool2d(teacher, student.shape[2:])
        return (self.attention(student) - self.attention(teacher)).square().mean()

    def attention(self, x):
        """(N, C, H, W) to (N, H*W), each row of length 1 (0 for an all-zero sample)."""
        keeps_sign = self.signed or self.p % 2 == 0
        power = (x if keeps_sign else x.abs()).pow(self.p)
        return F.normalize(power.mean(1).flatten(1), dim=1, eps=1e-12)

    def extra_repr(self):
        return f'p={self.p}, signed={self.signed}'
