"""Pixels of augmented images and points of the augmented LiDAR frame."""
import numpy as np
import pytest
import torch

from mmkd.models.bev.geometry import camera_matrices
from tests.models.bev.rigs import augmented, cameras_of, facing, rig


def test_a_pixel_lies_where_it_is_by_hand():
    # looks along y from (1, 2, 3): right is x, down is -z
    meta = dict(cam2img=[[[100., 0, 50], [0, 200, 20], [0, 0, 1]]],
                lidar2cam=[facing(np.pi / 2, (1., 2., 3.))], img_aug_matrix=[np.eye(4)],
                lidar_aug_matrix=np.eye(4))
    pixels = torch.tensor([[[[60., 30.]]]], dtype=torch.float64)
    points = cameras_of(meta).points(pixels, torch.tensor([[[10.]]], dtype=torch.float64))
    # (60 - 50) / 100 * 10 = 1 m to the right, (30 - 20) / 200 * 10 = 0.5 m down
    torch.testing.assert_close(points.flatten(), torch.tensor([2., 12., 2.5],
                                                              dtype=torch.float64))


def test_augmentations_are_undone_by_hand():
    meta = dict(cam2img=[[[100., 0, 50], [0, 200, 20], [0, 0, 1]]],
                lidar2cam=[facing(np.pi / 2, (1., 2., 3.))],
                img_aug_matrix=[[[-2., 0, 0, 200], [0, 2, 0, -10], [0, 0, 1, 0], [0, 0, 0, 1]]],
                lidar_aug_matrix=np.diag([1., -1., 1., 1.]))
    # the pixel (60, 30) is now at (200 - 120, 60 - 10), and y is flipped
    pixels = torch.tensor([[[[80., 50.]]]], dtype=torch.float64)
    points = cameras_of(meta).points(pixels, torch.tensor([[[10.]]], dtype=torch.float64))
    torch.testing.assert_close(points.flatten(), torch.tensor([2., -12., 2.5],
                                                              dtype=torch.float64))


def test_projecting_brings_a_pixel_back():
    cameras = cameras_of(augmented(rig(), 0), augmented(rig(), 1))
    pixels = torch.rand(1, 4, 11, 2, dtype=torch.float64) * 100
    depths = torch.tensor([1., 7., 59.], dtype=torch.float64)[:, None, None]
    points = cameras.points(pixels, depths)  # (2, 6, 3, 4, 11, 3)
    found, depth = cameras.project(points.flatten(1, 4))
    found = found.view(2, 6, 6, 3, 4, 11, 2)
    depth = depth.view(2, 6, 6, 3, 4, 11)
    for camera in range(6):
        torch.testing.assert_close(found[:, camera, camera],
                                   pixels.expand(2, 3, 4, 11, 2), atol=1e-8, rtol=0)
        torch.testing.assert_close(depth[:, camera, camera],
                                   depths.expand(2, 3, 4, 11), atol=1e-8, rtol=0)


def test_float32_is_exact_to_a_millimeter():
    cameras = cameras_of(augmented(rig()))
    pixels = torch.rand(1, 16, 44, 2, dtype=torch.float64) * 700
    depths = torch.arange(1., 60., dtype=torch.float64)[:, None, None]
    exact = cameras.points(pixels, depths)
    assert (cameras.points(pixels.float(), depths.float()) - exact).abs().max() < 1e-3


@pytest.mark.parametrize('key', ['cam2img', 'lidar2cam', 'img_aug_matrix', 'lidar_aug_matrix'])
def test_a_missing_matrix_is_named(key):
    meta = rig()
    del meta[key]
    with pytest.raises(ValueError, match=f'sample 1 has no {key}'):
        camera_matrices([rig(), meta])


@pytest.mark.parametrize('value', [np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_a_matrix_that_is_none_is_named(value):
    meta = rig()
    meta['cam2img'][2] = value
    with pytest.raises(ValueError, match='cam2img of camera 2 of sample 0 is no calibration'):
        camera_matrices([meta])


def test_sizes_that_are_wrong_are_named():
    meta = rig()
    meta['lidar2cam'][1] = np.eye(4)[:3]
    with pytest.raises(ValueError, match=r'lidar2cam of camera 1 of sample 0 must be 3 x 3 or'):
        camera_matrices([meta])
    meta = rig()
    meta['lidar2cam'] = meta['lidar2cam'][:5]
    with pytest.raises(ValueError, match='6 cam2img, 5 lidar2cam'):
        camera_matrices([meta])
    with pytest.raises(ValueError, match=r'same number of cameras, not \[5, 6\]'):
        camera_matrices([rig(5), rig(6)])
    with pytest.raises(ValueError, match='0 cam2img'):
        camera_matrices([rig(0)])
