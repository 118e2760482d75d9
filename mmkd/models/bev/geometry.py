"""Where the pixels of augmented images lie in the augmented LiDAR frame.

Coordinates of a pixel are (u, v): columns, then rows, whole numbers at the middle of a pixel.
The LiDAR frame is mmdet3d's; in nuScenes x points right and y forward, metres.
"""
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

#: what a sample's metainfo must hold -> (size of each matrix, which transform gives it)
MATRICES = dict(cam2img=('3 x 3 or 4 x 4', 'mmkd.LoadCameraImages'),
                lidar2cam=('4 x 4', 'mmkd.LoadCameraImages'),
                img_aug_matrix=('4 x 4', 'mmkd.LoadCameraImages'),
                lidar_aug_matrix=('4 x 4', 'mmkd.PackBEVInputs'))


class CameraMatrices(NamedTuple):
    """The matrices of B samples with N cameras, float64 on the CPU.

    There they are inverted; only what is made of them is moved: a GPU would have to be waited for.

    Attributes:
        cam2img: (B, N, 4, 4): camera x, y, z in metres -> (u * z, v * z, z) of the picture as
            it was taken.
        lidar2cam: (B, N, 4, 4): LiDAR -> camera, before any augmentation.
        img_aug: (B, N, 4, 4): (u, v, z, 1) of the picture as it was taken -> of the image given
            to the network.
        lidar_aug: (B, 4, 4): LiDAR -> augmented LiDAR, in which boxes and BEV maps are.
    """
    cam2img: Tensor
    lidar2cam: Tensor
    img_aug: Tensor
    lidar_aug: Tensor

    def cameras(self, start, stop):
        """Those of the cameras ``start`` to ``stop``."""
        return CameraMatrices(self.cam2img[:, start:stop], self.lidar2cam[:, start:stop],
                              self.img_aug[:, start:stop], self.lidar_aug)

    def img2lidar(self):
        """(B, N, 3, 4) float64: (u * z, v * z, z, 1) -> x, y, z in the augmented LiDAR frame.

        u, v are a pixel of the augmented image and z its depth along the camera's axis, metres.
        """
        image = torch.linalg.inv(self.img_aug)
        camera = self.lidar_aug[:, None] @ torch.linalg.inv(self.cam2img @ self.lidar2cam)
        matrix = camera[..., :3, :].clone()  # of the picture as it was taken
        matrix[..., :2] = camera[..., :3, :2] @ image[..., :2, :2]
        matrix[..., 2] += (camera[..., :3, :2] @ image[..., :2, 3:]).squeeze(-1)
        return matrix

    def points(self, pixels, depths):
        """Points of a frustum in the augmented LiDAR frame.

        Args:
            pixels: (D or 1, H, W, 2) u, v in the augmented images.
            depths: (D, H or 1, W or 1) metres along the camera's axis.

        Returns:
            Tensor: (B, N, D, H, W, 3) x, y, z in metres.
        """
        return frustum_points(self.img2lidar().to(pixels), pixels, depths)

    def project(self, points):
        """Pixels of points of the augmented LiDAR frame.

        Args:
            points: (B, P, 3) x, y, z in metres.

        Returns:
            (B, N, P, 2) u, v in the augmented images, and (B, N, P) depth in metres; a point
            whose depth is not positive is behind the camera, and its pixel means nothing.
        """
        points = torch.cat([points, torch.ones_like(points[..., :1])], -1).double()
        matrix = self.cam2img @ self.lidar2cam @ torch.linalg.inv(self.lidar_aug)[:, None]
        camera = torch.einsum('bnij,bpj->bnpi', matrix.to(points.device), points)
        depth = camera[..., 2:3]
        safe = torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)
        image = torch.cat([camera[..., :2] / safe, depth, torch.ones_like(depth)], -1)
        image = torch.einsum('bnij,bnpj->bnpi', self.img_aug.to(points.device), image)
        return image[..., :2], depth.squeeze(-1)


def frustum_points(img2lidar, pixels, depths):
    """Points of a frustum.

    Args:
        img2lidar: (B, N, 3, 4), of :meth:`CameraMatrices.img2lidar`.
        pixels: (D or 1, H, W, 2) u, v.
        depths: (D, H or 1, W or 1) metres along the camera's axis.

    Returns:
        Tensor: (B, N, D, H, W, 3) x, y, z in metres.
    """
    u_axis, v_axis, axis, position = (
        column[:, :, None, None, None] for column in img2lidar.unbind(-1))
    rays = u_axis * pixels[..., :1] + v_axis * pixels[..., 1:] + axis
    return rays * depths[..., None] + position


def camera_matrices(metas):
    """The matrices of a batch.

    Args:
        metas (list[dict]): Metainfo of each sample: lists ``cam2img`` (3 x 3 or 4 x 4),
            ``lidar2cam`` (4 x 4) and ``img_aug_matrix`` (4 x 4) with an entry for each camera,
            and ``lidar_aug_matrix`` (4 x 4).

    Returns:
        CameraMatrices: of the samples.

    Raises:
        ValueError: a matrix is missing, has another size, is not finite or has no inverse;
            samples with different numbers of cameras.
    """
    samples = [_matrices_of(meta, f'sample {i}') for i, meta in enumerate(metas)]
    counts = sorted({len(sample[0]) for sample in samples})
    if len(counts) != 1:
        raise ValueError(f'the samples of a batch must have the same number of cameras, not '
                         f'{counts}: is a camera missing in one of them?')
    return CameraMatrices(*(torch.from_numpy(np.stack(part))
                            for part in zip(*samples, strict=True)))


def _matrices_of(meta, where):
    """cam2img, lidar2cam, img_aug (N, 4, 4) and lidar_aug (4, 4) of one sample."""
    for key, (size, transform) in MATRICES.items():
        if meta.get(key) is None:
            raise ValueError(f'{where} has no {key} ({size}), without which its images have no '
                             f'place in space; {transform} gives it, and mmkd.PackBEVInputs '
                             'passes it on')
    lists = {key: meta[key] for key in MATRICES if key != 'lidar_aug_matrix'}
    counts = {key: len(matrices) for key, matrices in lists.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError(f'{where} must have one matrix of each kind for each of its cameras, not '
                         + ', '.join(f'{count} {key}' for key, count in counts.items()))
    found = [np.stack([homogeneous(matrix, f'{key} of camera {i} of {where}')
                       for i, matrix in enumerate(matrices)])
             for key, matrices in lists.items()]
    return *found, homogeneous(meta['lidar_aug_matrix'], f'lidar_aug_matrix of {where}')


def homogeneous(matrix, what):
    """``matrix`` (3 x 3 or 4 x 4) as (4, 4) float64.

    Raises:
        ValueError: it has another size, is not finite or has no inverse.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape not in ((3, 3), (4, 4)):
        raise ValueError(f'{what} must be 3 x 3 or 4 x 4, not {matrix.shape}')
    full = np.eye(4)
    full[:len(matrix), :len(matrix)] = matrix
    if not np.isfinite(full).all() or np.linalg.matrix_rank(full) < 4:
        raise ValueError(f'{what} is no calibration, it has no inverse: {matrix.tolist()}')
    return full
