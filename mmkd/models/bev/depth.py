"""Depth of image features: the camera-aware network and the supervision of BEVDepth.

Li et al., "BEVDepth: Acquisition of Reliable Depth for Multi-view 3D Object Detection", AAAI 2023.
"""
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import nn

from ...registry import MODELS

#: numbers that describe a camera: see :func:`describe_cameras`
CAMERA_NUMBERS = 27


def describe_cameras(cameras, image_size):
    """(B, N, 27) float64 numbers of order one that say what a camera sees and how it was augmented.

    Focal lengths and center of the intrinsics and the shift of the image's augmentation in image
    widths, its 2 x 2 part, 5 entries of the BEV augmentation, and the 12 of camera to LiDAR,
    metres.

    Args:
        cameras (CameraMatrices): Of B samples with N cameras.
        image_size: (height, width) of the images.
    """
    width = image_size[1]
    k, aug = cameras.cam2img, cameras.img_aug
    bev = cameras.lidar_aug[:, None].expand(-1, k.shape[1], -1, -1)
    pose = torch.linalg.inv(cameras.lidar2cam)
    return torch.cat([
        torch.stack([k[..., 0, 0], k[..., 1, 1], k[..., 0, 2], k[..., 1, 2]], -1) / width,
        aug[..., :2, :2].flatten(-2), aug[..., :2, 3] / width,
        bev[..., :2, :2].flatten(-2), bev[..., 2, 2, None],
        pose[..., :3, :].flatten(-2)], -1)


class _Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        return F.relu(x + self.layers(x))


class _Deformable(nn.Module):
    """mmcv's deformable convolution, in float32: it has no kernel for bfloat16."""

    def __init__(self, channels):
        super().__init__()
        from mmcv.ops import DeformConv2dPack
        self.conv = DeformConv2dPack(channels, channels, 3, padding=1, deform_groups=4)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return self.conv(x.to(self.conv.weight.dtype))


class _CameraGate(nn.Module):
    """Channels are weighted by a sigmoid of what describes the camera (squeeze and excite)."""

    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(CAMERA_NUMBERS, channels), nn.ReLU(inplace=True),
                                    nn.Linear(channels, channels), nn.ReLU(inplace=True),
                                    nn.Linear(channels, channels), nn.Sigmoid())

    def forward(self, x, numbers):
        return x * self.layers(numbers)[..., None, None]


@MODELS.register_module()
class DepthNet(BaseModule):
    """BEVDepth's network of depth and context, which knows the camera.

    As in the paper, except that the numbers that describe a camera are scaled by constants, not
    by a batch norm over cameras, which is not defined for a single one; the ASPP that later
    releases added is left out.

    Args:
        in_channels (int): Of the image features.
        context_channels (int): Of the features that are lifted.
        depth_channels (int): Number of depth bins.
        mid_channels (int): Inside.
        dcn (bool): A deformable convolution before the depth, as in the paper. Needs mmcv.
        init_cfg (dict, optional): mmengine's, for the weights.
    """

    def __init__(self, in_channels, context_channels, depth_channels, mid_channels=512, dcn=True,
                 init_cfg=None):
        super().__init__(init_cfg)
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(mid_channels), nn.ReLU(inplace=True))
        self.context_gate, self.depth_gate = _CameraGate(mid_channels), _CameraGate(mid_channels)
        self.context = nn.Conv2d(mid_channels, context_channels, 1)
        layers = [_Residual(mid_channels) for _ in range(3)]
        if dcn:
            layers.append(_Deformable(mid_channels))
        self.depth = nn.Sequential(*layers, nn.Conv2d(mid_channels, depth_channels, 1))

    def forward(self, features, numbers):
        """Return the depth's logits (M, D, H, W) and the context (M, C, H, W).

        Args:
            features: (M, in_channels, H, W).
            numbers: (M, 27), of :func:`describe_cameras`.
        """
        features, numbers = self.reduce(features), numbers.to(features)
        return (self.depth(self.depth_gate(features, numbers)),
                self.context(self.context_gate(features, numbers)))


def depth_bin_of(depth, depth_bins):
    """Bin of each depth: floor((depth - start) / step), -1 outside [start, stop).

    Args:
        depth: (...) metres; 0 or NaN where there is none.
        depth_bins: (start, stop, step) in metres.

    Returns:
        Tensor: (...) int64.
    """
    start, stop, step = depth_bins
    count = number_of_bins(depth_bins)
    found = torch.floor((depth.double() - start) / step)
    inside = (depth >= start) & (depth < stop) & (found < count)
    return torch.where(inside, found, -1.).long()


def number_of_bins(depth_bins):
    """How many bins (start, stop, step) makes.

    Raises:
        ValueError: it makes none.
    """
    start, stop, step = depth_bins
    if not (0 < start < stop and step > 0) or round((stop - start) / step) < 1:
        raise ValueError('depth_bins must be (start, stop, step) in metres, with 0 < start < stop '
                         f'and step > 0, not {tuple(depth_bins)}')
    return round((stop - start) / step)


def depth_loss(logits, depth, depth_bins):
    """BEVDepth's loss: binary cross entropy of every bin, averaged over pixels with a depth.

    Args:
        logits: (B, N, D, H, W), before the softmax over D.
        depth: (B, N, H, W) measured depth in metres; 0 where there is none.
        depth_bins: (start, stop, step) in metres.

    Returns:
        Tensor: scalar, float32 or wider; zero with a graph where no pixel has a depth.

    Raises:
        ValueError: shapes that do not go together.
    """
    if depth.shape != logits.shape[:2] + logits.shape[3:]:
        raise ValueError(f'depth maps of {tuple(depth.shape)} do not go with depth predictions of '
                         f'{tuple(logits.shape)} (B, N, D, H, W): has mmkd.PointsToDepthMaps the '
                         'stride of the view transformer?')
    with torch.autocast(logits.device.type, enabled=False):
        bins = depth_bin_of(depth, depth_bins)
        seen = bins >= 0
        rows = logits.movedim(2, -1)[seen]
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        if not len(rows):
            return logits.sum(dtype=rows.dtype) * 0.
        log_p = rows.log_softmax(-1)
        target = F.one_hot(bins[seen], rows.shape[-1]).bool()
        log_not_p = torch.log(-torch.expm1(log_p.clamp(max=-1e-7)))  # log(1 - p)
        return -torch.where(target, log_p, log_not_p).sum() / len(rows)
