"""Lift, splat: features of images from any cameras, summed into one map seen from above.

Philion and Fidler, "Lift, Splat, Shoot: Encoding Images from Arbitrary Camera Rigs by Implicitly
Unprojecting to 3D", ECCV 2020, as BEVDet (Huang et al., 2021) and BEVDepth use it.
"""
import torch
from mmengine.model import BaseModule
from torch import nn

from ...ops import bev_pool, bev_pool_index
from ...registry import MODELS
from .depth import depth_loss, describe_cameras, number_of_bins


@MODELS.register_module()
class LSSViewTransformer(BaseModule):
    """Image features (B * N, C, H, W) -> BEV map (B, Z * C', Y, X) in mmdet3d's LiDAR frame.

    Cell [y, x] of the map covers x_min + x * size to x_min + (x + 1) * size metres along the
    LiDAR's x axis (right, in nuScenes), and likewise y (forward). BEVDet's own maps lie in the
    ego frame. The map is that of the augmented LiDAR frame, where the augmented boxes are: the
    augmentation goes into the geometry, the map itself is never flipped.

    Each pixel of a feature map gets a probability for each depth bin and a context vector; their
    product is added to the cell where that point of the pixel's ray lies.

    Args:
        in_channels (int): C.
        out_channels (int): C'.
        voxel_size: (x, y, z) of a cell, metres. Cells above each other become channels.
        point_cloud_range: (x_min, y_min, z_min, x_max, y_max, z_max), metres.
        depth_bins: (start, stop, step), metres; bin i stands for start + i * step.
        stride (int): Pixels of the image for each pixel of the features.
        depth_net (dict, optional): Network of depth and context, e.g.
            ``dict(type='mmkd.DepthNet', mid_channels=256)``; its channels are filled in. None: a
            1 x 1 convolution, as in BEVDet.
        depth_supervision (dict, optional): ``dict(weight=3.)`` (BEVDepth's weight) to learn the
            depth from the data samples' ``gt_depth_maps``, see :class:`~mmkd.datasets.transforms.
            PointsToDepthMaps`. None: depth is learnt from the boxes alone.
        pixels (str): Which pixel of the image a feature stands for: 'centers', the middle of its
            cell, or 'linspace', from the first to the last pixel of the image, as in BEVDet.
        rounding (str): 'floor' or 'trunc', see :func:`mmkd.ops.bev_pool_index`. BEVDet truncates:
            points up to one cell below the lower bounds get into the first cells.
        init_cfg (dict, optional): mmengine's, for the weights.
    """

    def __init__(self, in_channels, out_channels, voxel_size, point_cloud_range,
                 depth_bins=(1., 60., 1.), stride=16, depth_net=None, depth_supervision=None,
                 pixels='centers', rounding='floor', init_cfg=None):
        super().__init__(init_cfg)
        if pixels not in ('centers', 'linspace'):
            raise ValueError(f"pixels must be 'centers' or 'linspace', not {pixels!r}")
        self.voxel_size, self.point_cloud_range = tuple(voxel_size), tuple(point_cloud_range)
        self.depth_bins, self.bins = tuple(depth_bins), number_of_bins(depth_bins)
        self.stride, self.pixels, self.rounding = stride, pixels, rounding
        self.out_channels = out_channels
        if depth_supervision is not None and set(depth_supervision) - {'weight'}:
            raise ValueError('depth_supervision takes a weight alone, dict(weight=3.), not '
                             f'{dict(depth_supervision)}')
        self.depth_weight = None if depth_supervision is None else \
            float(depth_supervision.get('weight', 3.))
        if depth_net is None:
            self.depth_net = nn.Conv2d(in_channels, self.bins + out_channels, 1)
        else:
            self.depth_net = MODELS.build(dict(
                depth_net, in_channels=in_channels, context_channels=out_channels,
                depth_channels=self.bins))
        #: logits (B * N, D, H, W) -> probabilities: to be tapped
        self.depth_probability = nn.Softmax(1)

    def forward(self, features, cameras, image_size):
        """Lift and splat.

        Args:
            features: (B * N, C, H, W), the cameras of a sample one after the other.
            cameras (CameraMatrices): Of B samples with N cameras.
            image_size: (height, width) of the images.

        Returns:
            The map (B, Z * C', Y, X), and the depth's logits (B, N, D, H, W).

        Raises:
            ValueError: numbers of images, cameras, or sizes that do not go together.
        """
        b, n = cameras.lidar2cam.shape[:2]
        if len(features) != b * n:
            raise ValueError(f'{len(features)} images do not go with the matrices of {b} samples '
                             f'with {n} cameras')
        logits, context = self.depth_and_context(features, cameras, image_size)
        index = bev_pool_index(self.geometry(cameras, image_size, features), self.voxel_size,
                               self.point_cloud_range, self.rounding)
        depth = self.depth_probability(logits)
        volume = bev_pool(depth.unflatten(0, (b, n)),
                          context.permute(0, 2, 3, 1).unflatten(0, (b, n)), index)
        bev = volume.squeeze(2) if volume.shape[2] == 1 else torch.cat(volume.unbind(2), 1)
        return bev, logits.unflatten(0, (b, n))

    def depth_and_context(self, features, cameras, image_size):
        """Logits (B * N, D, H, W) and context (B * N, C', H, W)."""
        if isinstance(self.depth_net, nn.Conv2d):
            return self.depth_net(features).split([self.bins, self.out_channels], 1)
        return self.depth_net(features, describe_cameras(cameras, image_size).flatten(0, 1))

    def geometry(self, cameras, image_size, features):
        """(B, N, D, H, W, 3) float32 x, y, z of each point that is lifted, metres."""
        places = []
        for length, count in zip(image_size[::-1], features.shape[:-3:-1], strict=True):
            if count * self.stride != length:
                raise ValueError(
                    f'images of {tuple(image_size)} pixels and features of '
                    f'{tuple(features.shape[-2:])} do not have the stride {self.stride} of the '
                    'view transformer')
            places.append(torch.linspace(0, length - 1, count) if self.pixels == 'linspace' else
                          (torch.arange(count) + .5) * self.stride - .5)
        u, v = places
        pixels = torch.stack([u.expand(len(v), -1), v[:, None].expand(-1, len(u))], -1)
        start, _, step = self.depth_bins
        depths = start + step * torch.arange(self.bins)
        return cameras.points(pixels[None].to(features.device),
                              depths[:, None, None].to(features.device))

    def loss(self, logits, data_samples):
        """``dict(loss_depth=...)``, weighted; empty without depth supervision.

        Args:
            logits: (B, N, D, H, W), of :meth:`forward`.
            data_samples (list): With ``gt_depth_maps`` (N, H, W) in metres, 0 where none.

        Raises:
            ValueError: a data sample has none.
        """
        if self.depth_weight is None:
            return {}
        maps = [sample.get('gt_depth_maps') for sample in data_samples]
        if any(depth is None for depth in maps):
            raise ValueError('depth_supervision needs gt_depth_maps: put mmkd.PointsToDepthMaps '
                             'into the pipeline, before mmkd.PackBEVInputs, whose keys must name '
                             'gt_depth_maps')
        depth = torch.stack(maps).to(logits.device)
        return dict(loss_depth=self.depth_weight * depth_loss(logits, depth, self.depth_bins))
