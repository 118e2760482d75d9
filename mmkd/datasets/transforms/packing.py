"""Packing what a camera detector needs."""
import numpy as np
import torch
from mmdet3d.datasets.transforms import Pack3DDetInputs

from ...registry import TRANSFORMS

#: besides those of mmdet3d's Pack3DDetInputs
META_KEYS = ('token', 'timestamp', 'camera_names', 'img_aug_matrix', 'lidar_aug_matrix',
             'num_frames')


@TRANSFORMS.register_module()
class PackBEVInputs(Pack3DDetInputs):
    """mmdet3d's Pack3DDetInputs, with the cameras' matrices in the metainfo.

    Args:
        keys (list[str]): As for Pack3DDetInputs; also ``gt_depth_maps`` (N, H, W), which becomes
            a field of the data sample, so that it goes to the device with it.
        meta_keys (list[str]): More keys for the metainfo.
    """

    def __init__(self, keys, meta_keys=()):
        defaults = Pack3DDetInputs(keys=[]).meta_keys
        self.depth = 'gt_depth_maps' in keys
        super().__init__(keys=[key for key in keys if key != 'gt_depth_maps'],
                         meta_keys=tuple(dict.fromkeys([*defaults, *META_KEYS, *meta_keys])))

    def transform(self, results):
        """Pack.

        Raises:
            ValueError: the scene was moved or the images were resized by a transform that does
                not keep the matrices, or ``gt_depth_maps`` is asked for and not there.
        """
        if results.get('transformation_3d_flow') and _moved(results):
            raise ValueError('the scene was rotated, scaled or flipped by '
                             "mmdet3d's GlobalRotScaleTrans or RandomFlip3D, which do not tell the "
                             'cameras: images and boxes would disagree. Use mmkd.BEVAug')
        if _resized(results):
            raise ValueError(
                f"the images are {results['img'][0].shape[:2]}, the pictures "
                f"{tuple(results['ori_shape'])}, but their img_aug_matrix says that nothing was "
                'done: what resized them does not tell the cameras. Use mmkd.MultiViewImageAug')
        results.setdefault('lidar_aug_matrix', np.eye(4))
        if self.depth and 'gt_depth_maps' not in results:
            raise ValueError('PackBEVInputs: there are no gt_depth_maps; mmkd.PointsToDepthMaps '
                             'comes before')
        packed = super().transform(results)
        if self.depth:
            packed['data_samples'].gt_depth_maps = torch.as_tensor(results['gt_depth_maps'])
        return packed


def _moved(results):
    """Whether mmdet3d's augmentation changed anything."""
    return (not np.allclose(results.get('pcd_rotation', np.eye(3)), np.eye(3))
            or not np.isclose(results.get('pcd_scale_factor', 1.), 1.)
            or not np.allclose(results.get('pcd_trans', 0.), 0.)
            or results.get('pcd_horizontal_flip', False)
            or results.get('pcd_vertical_flip', False))


def _resized(results):
    """Whether the images are not as large as the pictures, of which the matrices know nothing."""
    known = {'img', 'img_aug_matrix', 'ori_shape'} <= results.keys()
    return known and results['img'][0].shape[:2] != tuple(results['ori_shape']) and \
        all(np.allclose(matrix, np.eye(4)) for matrix in results['img_aug_matrix'])
