"""CIRKD, mini-batch part (Yang et al., CVPR 2022, arXiv:2204.06986).

How similar each pixel is to every pixel of every image of the batch should be the same
for student and teacher. Computed in tiles; see :mod:`mmkd.models.losses.relation.streamed`.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.registry import MODELS

from ..full_precision import wide
from ..maps import check_maps, empty_loss
from ..resize import resize_to
from .streamed import self_kl, working_dtype


@MODELS.register_module()
class CIRKDMiniBatchLoss(nn.Module):
    """KL between pixel-to-pixel similarities, over all ordered pairs of images.

    Features are normalised over channels; for each pair (i, j) of the local batch, i = j
    included, the similarities of i's pixels to j's pixels go through a softmax with
    temperature ``tau``. The loss is KL(teacher || student), averaged over rows and over the
    B * B pairs, with no factor tau ** 2. Student and teacher may differ in channels.

    A pixel whose feature is zero has no direction: it takes part with similarity 0 and gets
    no gradient (dividing by a small constant, as the official code does, gives it one about
    1e12 times too large).

    Args:
        tau: temperature.
        pooling: average 2 x 2 blocks first (ceil mode); a quarter of the pixels.

    Sizes: the student's map is resized bilinearly to the teacher's height and width,
        before pooling and normalisation.

    Raises:
        ValueError: if ``tau`` is not positive or too small for float64.
    """

    def __init__(self, tau: float = 0.1, pooling: bool = False):
        super().__init__()
        if not tau > 0:
            raise ValueError(f'tau={tau}: the temperature must be greater than 0')
        working_dtype(torch.float32, tau)
        self.tau = tau
        self.pooling = pooling

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            student: features (N, Cs, H, W); resized bilinearly to the teacher's H, W if they
                differ.
            teacher: features (N, Ct, H, W), no gradient.

        Raises:
            ValueError: if they are no maps, or the batch sizes differ.
        """
        check_maps('CIRKDMiniBatchLoss', student, teacher)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        s = unit_pixels(student, teacher.shape[2:], self.pooling)
        with torch.no_grad():
            t = unit_pixels(teacher, teacher.shape[2:], self.pooling)
        images, pixels = s.shape[:2]
        return self_kl(s, t, self.tau, scale=1. / (images * images * pixels))


def unit_pixels(x: Tensor, size: torch.Size, pooling: bool = False) -> Tensor:
    """Features (N, C, H, W) as unit rows (N, H * W, C), in float32 or wider.

    Args:
        x: features.
        size: height and width to resize to first, if they differ.
        pooling: average 2 x 2 blocks before the normalisation.
    """
    x = wide(x)
    x = resize_to(x, size)
    if pooling:
        x = F.avg_pool2d(x, kernel_size=2, stride=2, ceil_mode=True)
    rows = x.flatten(2).transpose(1, 2)
    norm = torch.linalg.vector_norm(rows, dim=2, keepdim=True)
    # A zero row stays zero, and its norm must not be differentiated.
    norm = norm.masked_fill(norm < 1e-12, torch.inf)
    return (rows / norm).contiguous()
