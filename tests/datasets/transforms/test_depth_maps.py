"""Depth maps from points."""
import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARPoints

from mmkd.datasets.transforms import PointsToDepthMaps
from tests.models.bev.rigs import SIZE, augmented, cameras_of, rig


def results_of(points, meta=None):
    meta = rig() if meta is None else meta
    points = torch.as_tensor(points, dtype=torch.float32).reshape(-1, 3)
    points = torch.cat([points, torch.zeros(len(points), 2)], 1)
    return dict(meta, points=LiDARPoints(points, points_dim=5),
                img=[np.zeros((*SIZE, 3), np.uint8)] * len(meta['cam2img']))


def maps_of(points, meta=None, **args):
    return PointsToDepthMaps(**args)(results_of(points, meta))['gt_depth_maps']


def test_by_hand():
    # the first camera is at (0, 0.5, -0.3) and looks along y with focal length 100 and
    # its middle at (88, 32): 10 m in front, 1 m right, 0.5 m below: pixel (98, 37)
    maps = maps_of([[1., 10.5, -.8]])
    assert maps.shape == (6, 4, 11)
    assert maps[0, 2, 6] == pytest.approx(10.)
    maps[0, 2, 6] = 0.
    assert not maps.any()


def test_the_nearest_counts():
    maps = maps_of([[1., 10.5, -.8], [.5, 5.5, -.55], [2., 20.5, -1.3]])  # one ray
    assert maps[0, 2, 6] == pytest.approx(5.)


def test_range_is_half_open_and_behind_does_not_count():
    for depth, seen in ((1., True), (.99, False), (39.9, True), (40., False), (-10., False)):
        maps = maps_of([[0., depth + .5, -.3]], depth_range=(1., 40.), meta=rig(1))
        assert bool(maps.any()) == seen, depth


@pytest.mark.parametrize('meta', [rig(), augmented(rig(), 5)])
def test_it_is_a_plain_loop(meta):
    torch.manual_seed(0)
    points = (torch.rand(4000, 3) - .5) * torch.tensor([60., 60., 6.])
    maps = maps_of(points, meta)
    pixels, depth = cameras_of(meta).project(points[None])
    expected = np.zeros((6, 4, 11), np.float32)
    for camera in range(6):
        for (u, v), z in zip(pixels[0, camera].tolist(), depth[0, camera].tolist(), strict=True):
            column, row = round(u), round(v)
            if 1 <= z < 60 and 0 <= column < SIZE[1] and 0 <= row < SIZE[0]:
                old = expected[camera, row // 16, column // 16]
                expected[camera, row // 16, column // 16] = min(old, z) if old else z
    assert (expected > 0).mean() > .5
    np.testing.assert_allclose(maps.numpy(), expected, rtol=1e-6)


def test_an_empty_sweep_and_points_that_are_none():
    assert not maps_of(torch.zeros(0, 3)).any()
    assert not maps_of([[np.nan, 1., 1.], [np.inf, 1., 1.], [0., 0., 0.]]).any()


def test_only_this_frames_cameras_get_maps():
    meta = rig()
    results = results_of([[1., 10.5, -.8]], {key: value * 2 if isinstance(value, list) else value
                                             for key, value in meta.items()})
    results['num_frames'] = 2
    assert PointsToDepthMaps()(results)['gt_depth_maps'].shape == (6, 4, 11)


def test_what_is_missing_is_told():
    results = results_of([[1., 10.5, -.8]])
    with pytest.raises(ValueError, match='LoadPointsFromFile'):
        PointsToDepthMaps()(dict(results, points=None))
    with pytest.raises(ValueError, match='LoadCameraImages'):
        PointsToDepthMaps()({key: value for key, value in results.items() if key != 'img'})
    with pytest.raises(ValueError, match='64 x 176'):
        PointsToDepthMaps(stride=12)(results)
    with pytest.raises(ValueError, match='has no lidar2cam'):
        PointsToDepthMaps()({k: v for k, v in results.items() if k != 'lidar2cam'})
