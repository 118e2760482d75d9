"""MGD's connector: align, mask at random, generate (Yang et al., ECCV 2022).

The mask comes after the align convolution and nothing is rescaled by 1 / (1 - lambda). The
docstrings of the official code give other defaults than the numbers it runs with: 0.75 for
segmentation, 0.65 for detection, 0.15 for classification.
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ._common import need_channels, need_map


@MODELS.register_module()
class MGDConnector(nn.Module):
    """Makes a map like the teacher's out of a masked student's map.

    Args:
        in_channels: channels of the student's map; found by a dry run if None.
        out_channels: channels of the teacher's map; found by a dry run if None.
        lambda_mgd: fraction that is masked, 0 to 1.
        mask: 'pixel' masks positions, the same in every channel; 'channel' masks whole
            channels, as the official code does for classification.

    Raises:
        ValueError: if channels are missing, lambda_mgd is outside 0..1 or mask is unknown.
    """

    def __init__(self, in_channels=None, out_channels=None, lambda_mgd=0.75, mask='pixel'):
        super().__init__()
        need_channels(self, in_channels=in_channels, out_channels=out_channels)
        if not 0 <= lambda_mgd <= 1:
            raise ValueError(f'MGDConnector: lambda_mgd={lambda_mgd!r}, expected a fraction '
                             'between 0 (nothing masked) and 1 (all masked)')
        if mask not in ('pixel', 'channel'):
            raise ValueError(f"MGDConnector: mask={mask!r}, expected 'pixel' or 'channel'")
        self.lambda_mgd = lambda_mgd
        self.mask = mask
        self.align = nn.Identity()
        if in_channels != out_channels:
            self.align = nn.Conv2d(in_channels, out_channels, 1)
        self.generation = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1))

    def forward(self, x):
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        need_map(self, x)
        x = self.align(x)
        return self.generation(x * self.draw_mask(x))

    def draw_mask(self, x):
        """Zeros and ones, (N, 1, H, W) or (N, C, 1, 1), from one uniform draw of that shape.

        The official codes compare from opposite ends: a pixel is masked above 1 - lambda, a
        channel below lambda.
        """
        n, c, h, w = x.shape
        if self.mask == 'pixel':
            keep = torch.rand(n, 1, h, w, device=x.device) <= 1 - self.lambda_mgd
        else:
            keep = torch.rand(n, c, 1, 1, device=x.device) >= self.lambda_mgd
        return keep.to(x.dtype)

    def extra_repr(self):
        return f'lambda_mgd={self.lambda_mgd}, mask={self.mask!r}'
