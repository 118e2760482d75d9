"""A convolution that gives one side's map the channels of the other side's.

Which form a method uses differs between sources and is part of its recipe. FitNet in CIRKD:
1x1, no bias, always. CWD and MGD's align layer: 1x1 with bias, only where channels differ.
TorchDistiller's CWD on features: 1x1, no bias, with norm and ReLU.
"""
from torch import nn

from mmkd.registry import MODELS

from ._common import need_channels, need_map, need_odd


@MODELS.register_module()
class ConvConnector(nn.Sequential):
    """Convolution, optionally with BatchNorm and ReLU, that keeps height and width.

    Args:
        in_channels: channels of the map; found by a dry run if None.
        out_channels: channels of the other side's map; found by a dry run if None.
        kernel_size: an odd number.
        bias: whether the convolution has a bias.
        norm: whether a BatchNorm follows.
        act: whether a ReLU comes last.
        when: 'always', or 'unequal' to do nothing at all where both sides have the same
            number of channels.
        init_std: standard deviation of the normal distribution, cut off at two of them, that the
            weights are drawn from; None for PyTorch's own initialisation.

    Raises:
        ValueError: if channels are missing, kernel_size is even or ``when`` is unknown.
    """

    def __init__(self, in_channels=None, out_channels=None, kernel_size=1, bias=True, norm=False,
                 act=False, when='always', init_std=None):
        super().__init__()
        need_channels(self, in_channels=in_channels, out_channels=out_channels)
        need_odd(self, kernel_size=kernel_size)
        if when not in ('always', 'unequal'):
            raise ValueError(f"ConvConnector: when={when!r}, expected 'always' or 'unequal'")
        if when == 'unequal' and in_channels == out_channels:
            return
        self.add_module('conv', nn.Conv2d(in_channels, out_channels, kernel_size,
                                          padding=kernel_size // 2, bias=bias))
        if init_std is not None:
            nn.init.trunc_normal_(self.conv.weight, 0., init_std, -2 * init_std, 2 * init_std)
        if norm:
            self.add_module('norm', nn.BatchNorm2d(out_channels))
        if act:
            self.add_module('act', nn.ReLU())

    def forward(self, x):
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        need_map(self, x)
        return super().forward(x)
