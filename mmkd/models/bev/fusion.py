"""BEVFusion: boxes from several cameras and a LiDAR by one map seen from above.

After Liu et al., "BEVFusion: Multi-Task Multi-Sensor Fusion with Unified Bird's-Eye View
Representation", ICRA 2023: the maps of both sensors are put together before one BEV encoder. The
LiDAR's comes from pillars and plain convolutions here, which need no sparse ones.
"""
import torch
from mmdet3d.registry import MODELS as MMDET3D_MODELS

from ...registry import MODELS
from .bevdet import BEVDet


@MODELS.register_module()
class BEVFusion(BEVDet):
    """Images (B, N, 3, H, W) of N cameras and points -> boxes in mmdet3d's LiDAR frame.

    The view transformer's map and that of the points are put together along the channels,
    cameras first, and ``pts_fusion_layer`` gives the map (B, C, Y, X) that the BEV encoder reads.

    Args:
        pts_voxel_encoder (dict): Of pillars: e.g. mmdet3d's PillarFeatureNet.
        pts_middle_encoder (dict): mmdet3d's PointPillarsScatter.
        pts_backbone (dict): On the points' map; its last output has the view transformer's cells.
        pts_fusion_layer (dict): E.g. mmcv's ConvModule, from both maps' channels to those that
            ``img_bev_encoder_backbone`` reads.

    The others are those of :class:`BEVDet`; data_preprocessor also makes the voxels.
    """

    def __init__(self, *args, pts_voxel_encoder, pts_middle_encoder, pts_backbone,
                 pts_fusion_layer, **kwargs):
        super().__init__(*args, **kwargs)
        self.pts_voxel_encoder = MMDET3D_MODELS.build(pts_voxel_encoder)
        self.pts_middle_encoder = MMDET3D_MODELS.build(pts_middle_encoder)
        self.pts_backbone = MMDET3D_MODELS.build(pts_backbone)
        self.pts_fusion_layer = MMDET3D_MODELS.build(pts_fusion_layer)
        self.check_grid()  # of the points' parts, too

    def fuse(self, bev, batch_inputs_dict):
        """The map (B, C, Y, X) of both sensors, of that of the cameras (B, C', Y, X).

        Raises:
            ValueError: no voxels, or the points' map has other cells than that of the cameras.
        """
        voxels = batch_inputs_dict.get('voxels')
        if voxels is None:
            raise ValueError('BEVFusion needs points in voxels: the keys of mmkd.PackBEVInputs '
                             'must name points, and the data_preprocessor must have voxel=True')
        features = self.pts_voxel_encoder(voxels['voxels'], voxels['num_points'], voxels['coors'])
        points = self.pts_backbone(self.pts_middle_encoder(features, voxels['coors'], len(bev)))[-1]
        if points.shape[-2:] != bev.shape[-2:]:
            raise ValueError(f'the map of the cameras has {tuple(bev.shape[-2:])} cells (Y, X), '
                             f'that of the points {tuple(points.shape[-2:])}: the strides of '
                             'pts_backbone must lead from the voxels to the cells of '
                             'img_view_transformer')
        return self.pts_fusion_layer(torch.cat([bev, points], 1))
