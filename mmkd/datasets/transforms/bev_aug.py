"""One augmentation of the scene for every sensor: rotate, scale, shift and flip."""
import numpy as np
import torch
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class BEVAug(BaseTransform):
    """Rotate, scale, shift and flip boxes and points, and keep the matrix for the cameras.

    What mmdet3d's GlobalRotScaleTrans and RandomFlip3D do, in one step and with one matrix:
    ``lidar_aug_matrix`` (4 x 4) maps the LiDAR frame to the augmented one, where boxes, points and
    BEV maps are. Nothing else has to be flipped: the view transformer has the matrix in its
    geometry, and a LiDAR branch sees the points. If there is a matrix already, it is multiplied.

    Args:
        rot_range: (low, high) radians, counter-clockwise seen from above, as in mmdet3d.
        scale_ratio_range: (low, high).
        translation_std: Of the shift in x, y, z, metres.
        flip_x (float): How often x becomes -x.
        flip_y (float): How often y becomes -y.
    """

    def __init__(self, rot_range=(-.3925, .3925), scale_ratio_range=(.95, 1.05),
                 translation_std=(0., 0., 0.), flip_x=.5, flip_y=.5):
        self.rot_range, self.scale_ratio_range = rot_range, scale_ratio_range
        self.translation_std, self.flip_x, self.flip_y = translation_std, flip_x, flip_y

    def transform(self, results):
        """Augment ``gt_bboxes_3d`` and ``points``, where they are there."""
        angle = float(np.random.uniform(*self.rot_range))
        scale = float(np.random.uniform(*self.scale_ratio_range))
        moved = np.random.normal(scale=self.translation_std, size=3)
        flips = [np.random.uniform() < chance for chance in (self.flip_x, self.flip_y)]
        if results.get('gt_bboxes_3d') is not None:
            augment_boxes(results['gt_bboxes_3d'], angle, scale, moved, flips)
        matrix = augmentation_matrix(angle, scale, moved, flips)
        if results.get('points') is not None:
            points = results['points'].tensor
            turn, offset = (torch.from_numpy(part).to(points) for part in
                            (matrix[:3, :3].T.copy(), matrix[:3, 3]))
            points[:, :3] = points[:, :3] @ turn + offset
        results['lidar_aug_matrix'] = matrix @ results.get('lidar_aug_matrix', np.eye(4))
        return results


def augmentation_matrix(angle, scale, moved, flips):
    """4 x 4: rotate by ``angle``, scale, shift by ``moved``, flip x and y."""
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, :3] *= scale
    matrix[:3, 3] = moved
    return np.diag([*(-1. if flip else 1. for flip in flips), 1., 1.]) @ matrix


def augment_boxes(boxes, angle, scale, moved, flips):
    """The same with mmdet3d's boxes, in place: sizes, headings and velocities, too."""
    if not len(boxes):
        return
    boxes.rotate(angle)
    boxes.scale(scale)
    boxes.translate(moved)
    for flip, direction in zip(flips, ('vertical', 'horizontal'), strict=True):  # of x, of y
        if flip:
            boxes.flip(direction)
