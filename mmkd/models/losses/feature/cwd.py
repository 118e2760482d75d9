"""CWD: channel-wise knowledge distillation (Shu et al., ICCV 2021, arXiv:2011.13256).

Each channel's activations are turned into a distribution over positions, and the
student's distribution follows the teacher's. The paper divides by C; every published
code divides by N * C, and so does this file.
"""
import torch
from torch import Tensor, nn

from mmkd.registry import MODELS

from ..full_precision import wide
from ..maps import check_maps, empty_loss, two_classes
from ..resize import resize_to
from ..softmax_kl import softmax_kl

NORMS = ('channel', 'spatial', 'channel_mean', 'none')
DIVERGENCES = ('kl', 'cross_entropy', 'mse')


@MODELS.register_module()
class CWDLoss(nn.Module):
    """Divergence between normalised activations of student and teacher.

    ``norm`` says what is compared (names of the official code) and with which divisor:

    * 'channel': softmax over the H * W positions of each channel; N * C. The method.
    * 'spatial': softmax over the channels at each position; N * H * W. One channel is taken
      for the logit of two classes, as (1 - p, p), since a softmax over it is constant.
    * 'channel_mean': the mean of each channel, no softmax; N * C.
    * 'none': raw activations; N * H * W. (The official branch indexes ``[0]``, so with a
      tensor it reads the first sample only; here every sample counts.)

    ``divergence``: 'kl' is the true KL, times tau ** 2. 'cross_entropy' leaves the teacher's
    entropy in the value and has the same gradient (the mmsegmentation port by the authors'
    group). 'mse' is the sum of squared differences with tau = 1, as in the official code.

    Scale per level: with 'channel' a mean over the distributions of N * C channels, so all levels
    of a pyramid are alike, but for those of few cells, which tell less (of one cell: nothing, the
    loss is 0). Of class scores, each anchor's score of each class is a channel.

    Args:
        tau: temperature of both softmaxes; 'mse' ignores it.
        norm: see above.
        divergence: see above. 'kl' and 'cross_entropy' need a softmax norm.
        divisor_channels: number put in place of C in the divisor N * C. CIRKD's copy divides
            by the student's channels before its projection.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.

    Raises:
        ValueError: for an unknown name, a ``tau`` or ``divisor_channels`` that is not positive,
            a divergence between distributions asked of values that are none, or a
            ``divisor_channels`` where the divisor has no C.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, tau: float = 1., norm: str = 'channel', divergence: str = 'kl',
                 divisor_channels: int | None = None):
        super().__init__()
        if not tau > 0:
            raise ValueError(f'tau={tau}: the temperature must be greater than 0')
        if norm not in NORMS:
            raise ValueError(f'norm={norm!r}: use one of {NORMS}')
        if divergence not in DIVERGENCES:
            raise ValueError(f'divergence={divergence!r}: use one of {DIVERGENCES}')
        if divergence != 'mse' and norm not in ('channel', 'spatial'):
            raise ValueError(f"divergence={divergence!r} with norm={norm!r}: these values are not "
                             "distributions; use divergence='mse' or norm='channel'")
        if divisor_channels is not None and divisor_channels < 1:
            raise ValueError(f'divisor_channels={divisor_channels}: expected a positive number')
        if divisor_channels is not None and norm not in ('channel', 'channel_mean'):
            raise ValueError(f'divisor_channels={divisor_channels} with norm={norm!r}: the divisor '
                             'is N * H * W and has no channels; leave divisor_channels out')
        self.tau = tau
        self.norm = norm
        self.divergence = divergence
        self.divisor_channels = divisor_channels
        self.two_classes = norm == 'spatial'  # one channel may be compared with two

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            student: logits or features (N, C, H, W); resized bilinearly to the teacher's H, W
                if they differ.
            teacher: same N and C, no gradient.

        Raises:
            ValueError: if they are no maps, or N or C differ.
        """
        check_maps('CWDLoss', student, teacher)
        if self.two_classes:
            student, teacher = two_classes(student, teacher)
        check_maps('CWDLoss', student, teacher, same_channels=True)
        empty = empty_loss(student, teacher)
        if empty is not None:
            return empty
        teacher = teacher.detach()
        student = resize_to(student, teacher.shape[2:])
        n, c, h, w = student.shape
        if self.norm in ('channel', 'channel_mean'):
            divisor = n * (self.divisor_channels or c)
        else:
            divisor = n * h * w
        if self.divergence == 'mse':
            return _squared_difference(student, teacher, self.norm) / divisor

        dim = 2 if self.norm == 'channel' else 1
        student, teacher = student.flatten(2), teacher.flatten(2)
        scale = self.tau ** 2 / divisor
        loss = softmax_kl(student, teacher, dim, self.tau, scale)
        if self.divergence == 'cross_entropy':
            loss = loss + scale * _entropy(teacher, dim, self.tau).to(loss.dtype)
        return loss


def _squared_difference(student: Tensor, teacher: Tensor, norm: str) -> Tensor:
    """Sum of squared differences of the normalised maps, in float32 or wider."""
    dtype = torch.promote_types(student.dtype, torch.float32)
    maps = [x.to(dtype).flatten(2) for x in (student, teacher)]
    if norm == 'channel':
        maps = [x.softmax(2) for x in maps]
    elif norm == 'spatial':
        maps = [x.softmax(1) for x in maps]
    elif norm == 'channel_mean':
        maps = [x.mean(2) for x in maps]
    return (maps[0] - maps[1]).square().sum()


@torch.no_grad()
def _entropy(x: Tensor, dim: int, tau: float) -> Tensor:
    """Sum of the entropies of softmax(x / tau) over ``dim``."""
    log_p = (wide(x) / tau).log_softmax(dim)
    # Where p is 0, so is its part of the entropy, not 0 * -inf.
    finite = log_p.clamp(min=torch.finfo(log_p.dtype).min)
    return -log_p.exp().mul_(finite).sum(dtype=torch.float64)
