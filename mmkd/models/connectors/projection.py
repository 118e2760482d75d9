"""CIRKD's project head (Yang et al., CVPR 2022): what its memory losses see of the student.

conv1x1 without bias to the teacher's channels, BatchNorm, ReLU, conv1x1 without bias. The
official head has SyncBatchNorm; here it is a BatchNorm that ``sync_bn='torch'`` in a config
converts together with the student's.
"""
from torch import nn

from mmkd.registry import MODELS

from ._common import need_channels, need_map


@MODELS.register_module()
class ProjectionConnector(nn.Sequential):
    """Two 1x1 convolutions, (N, in_channels, H, W) to (N, out_channels, H, W).

    Args:
        in_channels: channels of the student's map; found by a dry run if None.
        out_channels: channels of the teacher's map; found by a dry run if None.

    Raises:
        ValueError: if channels are missing.
    """

    def __init__(self, in_channels=None, out_channels=None):
        super().__init__()
        need_channels(self, in_channels=in_channels, out_channels=out_channels)
        self.extend([
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 1, bias=False)])

    def forward(self, x):
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        need_map(self, x)
        return super().forward(x)
