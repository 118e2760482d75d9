"""CBAM as a connector: channel gate, spatial gate, projection (Woo et al., ECCV 2018).

As AttnFD uses it (Mansourian et al., 2024): the student's refined map always goes through a
1x1 convolution without bias and a BatchNorm, even where channels are equal; the teacher's is
refined only. The channel gate is sigmoid of the sum over poolings of MLP(pool(x)), the spatial
gate sigmoid of BN(conv([max over C, mean over C])).

``learnable=False`` is the parameter-free gate that the official file has and its recipe leaves
unused: sigmoid(avg + max) over channels, then sigmoid(max + mean) over positions. It is the one
to put on the side of a frozen teacher that was trained without CBAM.
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ._common import need_channels, need_map, need_odd

#: (N, C, H*W) to (N, C), by the names of the official code
POOLS = {
    'avg': lambda x: x.mean(-1),
    'max': lambda x: x.max(-1).values,
    'lp': lambda x: torch.linalg.vector_norm(x, dim=-1),
    'lse': lambda x: x.logsumexp(-1),
}


@MODELS.register_module()
class CBAMConnector(nn.Module):
    """Refines a map by attention and, on the student's side, projects it.

    Args:
        in_channels: channels of the map; found by a dry run if None.
        out_channels: channels of the other side's map, needed if ``project``; found by a dry
            run if None.
        reduction_ratio: the channel MLP is this much narrower than the map (at least 1 wide).
        pool_types: poolings of the channel gate, out of 'avg', 'max', 'lp' and 'lse'.
        spatial_kernel: size of the spatial gate's convolution, odd.
        learnable: False for gates without parameters.
        project: whether a 1x1 convolution and a BatchNorm follow. False on the teacher's side.

    Raises:
        ValueError: if channels are missing, or a pooling or a kernel size does not exist.
    """

    def __init__(self, in_channels=None, out_channels=None, reduction_ratio=16,
                 pool_types=('avg', 'max'), spatial_kernel=7, learnable=True, project=True):
        super().__init__()
        unknown = [name for name in pool_types if name not in POOLS]
        if unknown or not pool_types:
            raise ValueError(f'CBAMConnector: pool_types={pool_types!r}, expected one or more '
                             f'of {", ".join(POOLS)}')
        need_odd(self, spatial_kernel=spatial_kernel)
        self.pool_types = tuple(pool_types)
        self.channel_mlp = self.spatial = self.project = None
        if learnable:
            need_channels(self, in_channels=in_channels, reduction_ratio=reduction_ratio)
            hidden = max(in_channels // reduction_ratio, 1)
            self.channel_mlp = nn.Sequential(
                nn.Linear(in_channels, hidden), nn.ReLU(), nn.Linear(hidden, in_channels))
            self.spatial = nn.Sequential(
                nn.Conv2d(2, 1, spatial_kernel, padding=spatial_kernel // 2, bias=False),
                nn.BatchNorm2d(1, momentum=0.01))
        if project:
            need_channels(self, in_channels=in_channels, out_channels=out_channels)
            conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode='fan_out', nonlinearity='relu')
            self.project = nn.Sequential(conv, nn.BatchNorm2d(out_channels))

    def forward(self, x):
        """(N, in_channels, H, W) to (N, out_channels, H, W), or refined only."""
        need_map(self, x)
        x = self.refine(x)
        return x if self.project is None else self.project(x)

    def refine(self, x):
        """Applies the channel gate, then the spatial gate: (N, C, H, W) to the same."""
        flat = x.flatten(2)
        pooled = [POOLS[name](flat) for name in self.pool_types]
        if self.channel_mlp is not None:
            pooled = [self.channel_mlp(vector) for vector in pooled]
        x = x * sum(pooled).sigmoid()[:, :, None, None]
        # max(dim) sends the gradient of a tie to one channel, amax would share it out
        strongest, mean = x.max(1, keepdim=True).values, x.mean(1, keepdim=True)
        if self.spatial is None:
            return x * (strongest + mean).sigmoid()
        return x * self.spatial(torch.cat([strongest, mean], 1)).sigmoid()
