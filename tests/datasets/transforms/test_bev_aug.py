"""One matrix for boxes, points and cameras."""
import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints

from mmkd.datasets.transforms import BEVAug

ALL = dict(rot_range=(-3., 3.), scale_ratio_range=(.5, 2.), translation_std=(2., 2., 1.))


def scene(boxes=5):
    torch.manual_seed(0)
    rows = torch.rand(boxes, 9) * 10 + .5
    return dict(gt_bboxes_3d=LiDARInstance3DBoxes(rows, box_dim=9),
                points=LiDARPoints(torch.rand(20, 5) * 30, points_dim=5))


def moved(matrix, xyz):
    return xyz.double() @ torch.from_numpy(matrix[:3, :3].T.copy()) + torch.from_numpy(
        matrix[:3, 3])


@pytest.mark.parametrize('flip_x', [0., 1.])
@pytest.mark.parametrize('flip_y', [0., 1.])
def test_boxes_points_and_matrix_agree(flip_x, flip_y):
    for seed in range(5):
        np.random.seed(seed)
        before, results = scene(), BEVAug(**ALL, flip_x=flip_x, flip_y=flip_y)(scene())
        matrix, boxes = results['lidar_aug_matrix'], results['gt_bboxes_3d']
        torch.testing.assert_close(results['points'].tensor[:, :3].double(),
                                   moved(matrix, before['points'].tensor[:, :3]), rtol=1e-5,
                                   atol=1e-4)
        assert torch.equal(results['points'].tensor[:, 3:], before['points'].tensor[:, 3:])
        # corners, as a set: a flip changes their order
        corners = moved(matrix, before['gt_bboxes_3d'].corners.flatten(0, 1)).view(-1, 8, 3)
        gaps = torch.cdist(corners, boxes.corners.double())
        assert gaps.amin(2).max() < 1e-3 and gaps.amin(1).max() < 1e-3
        # the front stays the front: the middle of the corners with dx first
        front, after = (b.corners[:, 4:].mean(1) for b in (before['gt_bboxes_3d'], boxes))
        torch.testing.assert_close(after.double(), moved(matrix, front), rtol=1e-4, atol=1e-3)
        velocity = before['gt_bboxes_3d'].tensor[:, 7:].double()
        torch.testing.assert_close(
            boxes.tensor[:, 7:].double(),
            velocity @ torch.from_numpy(matrix[:2, :2].T.copy()), rtol=1e-4, atol=1e-4)


def test_matrices_are_multiplied():
    np.random.seed(0)
    aug = BEVAug(**ALL)
    results = aug(scene())
    first = results['lidar_aug_matrix']
    second = aug(results)['lidar_aug_matrix']
    np.random.seed(0)
    aug(scene())
    alone = aug(scene())['lidar_aug_matrix']
    np.testing.assert_allclose(second, alone @ first)


def test_it_does_without_boxes_or_points():
    np.random.seed(0)
    assert BEVAug()(dict())['lidar_aug_matrix'].shape == (4, 4)
    results = dict(gt_bboxes_3d=LiDARInstance3DBoxes(torch.zeros(0, 9), box_dim=9),
                   points=LiDARPoints(torch.zeros(0, 5), points_dim=5))
    for _ in range(5):
        results = BEVAug(**ALL)(results)
    assert results['gt_bboxes_3d'].tensor.shape == (0, 9)
    assert results['points'].tensor.shape == (0, 5)


def test_how_often_it_flips():
    np.random.seed(0)
    aug = BEVAug(rot_range=(0, 0), scale_ratio_range=(1, 1), flip_x=.25, flip_y=0.)
    signs = np.stack([aug(dict())['lidar_aug_matrix'].diagonal() for _ in range(400)])
    assert .18 < (signs[:, 0] < 0).mean() < .32
    assert (signs[:, 1:] > 0).all()
