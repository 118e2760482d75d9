"""A feature pyramid of which only the finest level is made."""
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import nn

from ...registry import MODELS


@MODELS.register_module()
class FinestFPN(BaseModule):
    """FPN (Lin et al., CVPR 2017) that gives its finest level alone.

    What a lift-splat detector reads. mmdet's FPN also makes the levels that nobody reads, whose
    parameters would then have no gradient, which DDP refuses.

    Args:
        in_channels (list[int]): Channels of the backbone's maps, finest first.
        out_channels (int): Channels of the result.
        init_cfg (dict, optional): mmengine's, for the weights; default: Xavier.
    """

    def __init__(self, in_channels, out_channels, init_cfg=None):
        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        self.lateral_convs = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in in_channels)
        self.fpn_conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, inputs):
        """Return [(N, out_channels, H, W)], the size of the first of the maps.

        Raises:
            ValueError: another number of maps than ``in_channels`` has.
        """
        if len(inputs) != len(self.lateral_convs):
            raise ValueError(f'FinestFPN: in_channels is for {len(self.lateral_convs)} maps, but '
                             f'the backbone gives {len(inputs)} (its out_indices)')
        maps = [conv(x) for conv, x in zip(self.lateral_convs, inputs, strict=True)]
        out = maps[-1]
        for finer in maps[-2::-1]:
            out = finer + F.interpolate(out, size=finer.shape[-2:], mode='nearest')
        return [self.fpn_conv(out)]
