"""BEVDet: 3D boxes from several cameras by a map seen from above.

Huang et al., "BEVDet: High-performance Multi-camera 3D Object Detection in Bird-Eye-View", 2021.
"""
from mmdet3d.models.detectors import CenterPoint
from mmdet3d.registry import MODELS as MMDET3D_MODELS
from mmengine.config import ConfigDict

from ...registry import MODELS
from ..libraries.mmdet3d_bev import bev_range
from ..libraries.mmdet3d_grids import grid_mistakes
from .geometry import camera_matrices


@MODELS.register_module()
class BEVDet(CenterPoint):
    """Images (B, N, 3, H, W) of N cameras -> boxes in mmdet3d's LiDAR frame. Reads no points.

    Image backbone and neck give (B * N, C, H, W); the view transformer lifts them into a map
    (B, C, Y, X) in the LiDAR frame (x right and y forward in nuScenes; cell [y, x]); encoder and
    head are those of mmdet3d's CenterPoint. Loss, prediction and decoding are mmdet3d's.

    The data samples' metainfo holds ``cam2img``, ``lidar2cam``, ``img_aug_matrix`` and
    ``lidar_aug_matrix``: see :func:`mmkd.models.bev.geometry.camera_matrices`; mmkd's transforms
    (:mod:`mmkd.datasets.transforms`) put them there.

    Args:
        img_backbone (dict): E.g. mmdet's ResNet.
        img_neck (dict): Gives a list of maps, of which the first is lifted.
        img_view_transformer (dict): ``mmkd.LSSViewTransformer``.
        img_bev_encoder_backbone (dict): On the map; e.g. mmdet3d's SECOND.
        img_bev_encoder_neck (dict): E.g. mmdet3d's SECONDFPN.
        pts_bbox_head (dict): mmdet3d's CenterHead.
        train_cfg (dict): The head's, under ``pts``.
        test_cfg (dict): Likewise.
        data_preprocessor (dict): mmdet3d's Det3DDataPreprocessor.
        init_cfg (dict, optional): mmengine's, for the weights.

    Raises:
        ValueError: view transformer, voxels and head have different ranges or cells.
    """

    def __init__(self, img_backbone, img_neck, img_view_transformer, img_bev_encoder_backbone,
                 img_bev_encoder_neck, pts_bbox_head, train_cfg=None, test_cfg=None,
                 data_preprocessor=None, init_cfg=None):
        super().__init__(
            img_backbone=img_backbone, img_neck=img_neck, pts_bbox_head=ConfigDict(pts_bbox_head),
            train_cfg=ConfigDict(train_cfg) if train_cfg else None,
            test_cfg=ConfigDict(test_cfg) if test_cfg else None,
            data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.img_view_transformer = MMDET3D_MODELS.build(img_view_transformer)
        self.img_bev_encoder_backbone = MMDET3D_MODELS.build(img_bev_encoder_backbone)
        self.img_bev_encoder_neck = MMDET3D_MODELS.build(img_bev_encoder_neck)
        self.check_grid()

    def check_grid(self):
        """Refuse parts that lie on other ranges or cells than each other.

        Raises:
            ValueError: which do.
        """
        bev_range(self)
        mistakes = grid_mistakes(self)
        if mistakes:
            raise ValueError('\n'.join(mistakes))

    def _check_cells(self, feature):
        """The head's cells are those that its settings say."""
        coder, low = self.pts_bbox_head.bbox_coder, self.img_view_transformer.point_cloud_range
        for axis, length, size in zip('xy', feature.shape[:-3:-1], coder.voxel_size, strict=False):
            extent = low['xy'.index(axis) + 3] - low['xy'.index(axis)]
            cell = size * coder.out_size_factor
            if abs(length * cell - extent) > .5 * cell:
                raise ValueError(
                    f"the head gets {length} cells along {axis}, which at voxel_size {size} x "
                    f'out_size_factor {coder.out_size_factor} = {cell:g} m are {length * cell:g} m,'
                    f" but the view transformer's range is {extent:g} m; the strides of "
                    'img_bev_encoder_backbone and img_bev_encoder_neck decide it')

    def extract_feat(self, batch_inputs_dict, batch_input_metas):
        """(None, [(B, C, Y, X)]): mmdet3d's image and point features, of which the second count."""
        return None, self.extract_bev(batch_inputs_dict, batch_input_metas)[0]

    def extract_bev(self, batch_inputs_dict, batch_input_metas):
        """Encoded maps [(B, C, Y, X)] and the depth's logits (B, N, D, H, W).

        Raises:
            ValueError: no images, or matrices that are missing or do not go with them.
        """
        images = batch_inputs_dict.get('imgs')
        if images is None or images.dim() != 5:
            raise ValueError(f'{type(self).__name__} needs images (B, N, 3, H, W) of N cameras, '
                             f'not {None if images is None else tuple(images.shape)}: the keys of '
                             'mmkd.PackBEVInputs must name img')
        cameras = camera_matrices(batch_input_metas)
        if cameras.lidar2cam.shape[:2] != images.shape[:2]:
            raise ValueError(f'{images.shape[1]} images do not go with the matrices of '
                             f'{cameras.lidar2cam.shape[1]} cameras')
        bev, depth = self.lift(images, cameras)
        bev = self.fuse(bev, batch_inputs_dict)
        features = self.img_bev_encoder_neck(self.img_bev_encoder_backbone(bev))
        self._check_cells(features[0])
        return features, depth

    def lift(self, images, cameras):
        """The map (B, C, Y, X) and the depth's logits of images (B, N, 3, H, W)."""
        return self.img_view_transformer(self.image_features(images), cameras, images.shape[-2:])

    def fuse(self, bev, batch_inputs_dict):
        """The map (B, C, Y, X) that the encoder reads; here that of the images as it is."""
        return bev

    def image_features(self, images):
        """(B * N, C, H', W') of images (B, N, 3, H, W)."""
        return self.img_neck(self.img_backbone(images.flatten(0, 1)))[0]

    def _forward(self, batch_inputs_dict, data_samples=None, **kwargs):
        """What the head gives, of every task."""
        metas = [sample.metainfo for sample in data_samples]
        return self.pts_bbox_head(self.extract_bev(batch_inputs_dict, metas)[0])

    def loss(self, batch_inputs_dict, batch_data_samples, **kwargs):
        """The head's losses, and the depth's where it is supervised."""
        metas = [sample.metainfo for sample in batch_data_samples]
        features, depth = self.extract_bev(batch_inputs_dict, metas)
        return self.pts_bbox_head.loss(features, batch_data_samples, **kwargs) | \
            self.img_view_transformer.loss(depth, batch_data_samples)
