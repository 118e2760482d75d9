"""DIST (Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022).

The student's scores need not equal the teacher's, they only have to correlate with them: at every
position over the classes (inter), and for every class over all positions of the batch (intra).

The paper is about classification; this is the dense form of the authors' detection code (MasKD's
copy of mmrazor), without temperature. It takes class maps, one level of a pyramid at a time (a
RetinaNet's A * K channels are one axis: anchors are not told apart), a segmentation model's
logits, and rows of RoIs (a two-stage model's ``roi_cls``).
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..maps import check_maps, check_rows, empty_loss, prepare, two_classes


@MODELS.register_module()
class DISTLoss(nn.Module):
    """beta * (1 - correlation over classes) + gamma * (1 - correlation over positions).

    Both are Pearson correlations of the scores, averaged over the positions and over the classes.
    Where a side is constant (one class, one position, a class nobody sees) the correlation is 0
    and its part of the loss 1, without gradient.

    Logits of one channel (two classes told apart by a sigmoid) are compared as (1 - p, p), unless
    ``use_sigmoid``.

    Args:
        beta: factor of the relation between classes; 1 in all published runs.
        gamma: factor of the relation within a class; 1 in all published runs.
        use_sigmoid: whether scores are sigmoids, as of one-stage detectors (RetinaNet's recipe),
            or softmaxes over the classes, as of RoI heads and segmentation models.
        eps: what is added to the product of the two norms.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.

    Raises:
        ValueError: if ``eps`` is not positive.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built
    rows = True  # (R, K) is as good as (N, K, H, W)

    def __init__(self, beta=1., gamma=1., use_sigmoid=False, eps=1e-8):
        super().__init__()
        if not eps > 0:
            raise ValueError(f'eps={eps}: expected a small positive number')
        self.beta = beta
        self.gamma = gamma
        self.use_sigmoid = use_sigmoid
        self.eps = eps
        self.two_classes = not use_sigmoid  # one channel may be compared with two

    def forward(self, student, teacher):
        """Return the scalar loss.

        Args:
            student: logits (N, K, H, W), or (R, K), one row for every RoI.
            teacher: logits (N, K, H', W') or (R, K), no gradient.

        Raises:
            ValueError: if they are neither, or batch sizes, rows or class counts differ.
        """
        inter, intra = self.relations(student, teacher)
        return self.beta * inter + self.gamma * intra

    def relations(self, student, teacher):
        """The two parts of the loss, before their factors; shapes as in ``forward``."""
        if student.dim() == teacher.dim() == 2:
            check_rows('DISTLoss', student, teacher, same_channels=True)
        else:
            check_maps('DISTLoss', student, teacher)
            if self.two_classes:
                student, teacher = two_classes(student, teacher)
            check_maps('DISTLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty, empty
        student, teacher = prepare(student, teacher, resize=student.dim() == 4)
        positions = [0, *range(2, student.dim())]
        if self.use_sigmoid:
            student, teacher = student.sigmoid(), teacher.sigmoid()
        else:
            student, teacher = student.softmax(1), teacher.softmax(1)
        return self.unlike(student, teacher, [1]), self.unlike(student, teacher, positions)

    def unlike(self, a, b, dims):
        """1 - the mean of the correlations of ``a`` and ``b`` over ``dims``."""
        a, b = a - a.mean(dims, keepdim=True), b - b.mean(dims, keepdim=True)
        norms = torch.linalg.vector_norm(a, dim=dims) * torch.linalg.vector_norm(b, dim=dims)
        return 1 - ((a * b).sum(dims) / (norms + self.eps)).mean()

    def extra_repr(self):
        return (f'beta={self.beta}, gamma={self.gamma}, use_sigmoid={self.use_sigmoid}, '
                f'eps={self.eps}')
