"""Loading, packing, and the frame before."""
import copy
import os

import cv2
import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mmkd.datasets.transforms.cameras import LoadCameraImages, LoadPreviousFrame
from mmkd.datasets.transforms.packing import PackBEVInputs
from tests.models.bev.rigs import cameras_of, rig

NAMES = ['FRONT', 'LEFT', 'BACK']


def pose(angle, x, y):
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:2, 3] = x, y
    return matrix


@pytest.fixture
def info(tmp_path):
    """A sample's info as mmdet3d's data sets give it; camera i has pictures of the value 10 i."""
    meta = rig(3)
    images = {}
    for i, name in enumerate(NAMES):
        path = os.path.join(tmp_path, f'{name}.png')
        cv2.imwrite(path, np.full((64, 176, 3), 10 * i, np.uint8))
        images[name] = dict(img_path=path, cam2img=meta['cam2img'][i].tolist(),
                            lidar2cam=meta['lidar2cam'][i].tolist())
    return dict(token='abc', sample_idx=3, timestamp=2., images=images,
                ego2global=pose(.5, 100., 50.), lidar_points=dict(
                    lidar_path='x__LIDAR.bin', lidar2ego=pose(-1.5, .9, 0.)))


def test_cameras_come_in_the_order_asked_for(info):
    results = LoadCameraImages(['BACK', 'FRONT'])(info)
    assert [int(image.max()) for image in results['img']] == [20, 0]
    assert results['camera_names'] == ['BACK', 'FRONT']
    np.testing.assert_allclose(results['lidar2cam'][0], rig(3)['lidar2cam'][2])
    np.testing.assert_array_equal(results['img_aug_matrix'], [np.eye(4)] * 2)


def test_a_missing_camera_is_named(info):
    del info['images']['LEFT']
    with pytest.raises(ValueError, match='sample abc has no LEFT; it has FRONT, BACK'):
        LoadCameraImages(NAMES)(info)
    with pytest.raises(ValueError, match='sample abc has no images'):
        LoadCameraImages()(dict(info, images={}))


def test_a_missing_picture_is_named(info):
    os.remove(info['images']['LEFT']['img_path'])
    with pytest.raises(FileNotFoundError, match='LEFT.png'):
        LoadCameraImages(NAMES)(info)


@pytest.mark.parametrize('key', ['cam2img', 'lidar2cam', 'img_path'])
def test_a_missing_calibration_is_named(info, key):
    del info['images']['LEFT'][key]
    with pytest.raises(ValueError, match=f'sample abc: LEFT has no {key}'):
        LoadCameraImages()(info)


def test_a_calibration_that_is_none_is_named(info):
    info['images']['BACK']['cam2img'] = np.zeros((3, 3)).tolist()
    with pytest.raises(ValueError, match='cam2img of BACK of sample abc is no calibration'):
        LoadCameraImages()(info)


def test_the_frame_before_is_seen_from_here(info):
    """A point that stands still projects into the earlier cameras where they saw it."""
    before = copy.deepcopy(info) | dict(token='earlier', ego2global=pose(.4, 97., 49.))
    info['previous'] = before
    results = LoadPreviousFrame()(LoadCameraImages()(info))
    assert len(results['img']) == 6 and results['num_frames'] == 2
    assert results['camera_names'] == NAMES * 2
    here = np.array([3., 20., -1., 1.])
    world = info['ego2global'] @ info['lidar_points']['lidar2ego'] @ here
    there = np.linalg.inv(before['ego2global'] @ before['lidar_points']['lidar2ego']) @ world
    assert np.linalg.norm(there - here) > 1
    for i in range(3):
        np.testing.assert_allclose(results['lidar2cam'][3 + i] @ here,
                                   np.array(before['images'][NAMES[i]]['lidar2cam']) @ there)


def test_at_the_start_this_frame_stands_in(info):
    results = LoadPreviousFrame()(LoadCameraImages()(dict(info, previous=None)))
    for key in ('img', 'cam2img', 'lidar2cam'):
        for i in range(3):
            np.testing.assert_array_equal(results[key][i], results[key][3 + i])
    results['img'][0][:] = 99  # and not by sharing memory
    assert results['img'][3].max() == 0


def test_what_the_frame_before_lacks_is_told(info):
    loaded = LoadCameraImages()(copy.deepcopy(info))
    with pytest.raises(ValueError, match='NuScenesSequenceDataset'):
        LoadPreviousFrame()(copy.deepcopy(loaded))
    before = copy.deepcopy(info)
    del before['ego2global']
    with pytest.raises(ValueError, match='sample abc has no ego2global'):
        LoadPreviousFrame()(dict(copy.deepcopy(loaded), previous=before))
    before = copy.deepcopy(info)
    del before['images']['LEFT']
    with pytest.raises(ValueError, match='the frame before has the cameras'):
        LoadPreviousFrame()(dict(copy.deepcopy(loaded), previous=before))
    with pytest.raises(ValueError, match='right after LoadCameraImages'):
        LoadPreviousFrame()(dict(info, previous=None))


def packed(info, keys=('img', 'points', 'gt_bboxes_3d', 'gt_labels_3d', 'gt_depth_maps')):
    init_default_scope('mmdet3d')
    info |= dict(points=LiDARPoints(torch.rand(50, 5) * 20, points_dim=5),
                 gt_bboxes_3d=LiDARInstance3DBoxes(torch.rand(2, 9), box_dim=9),
                 gt_labels_3d=np.array([0, 1]), box_type_3d=LiDARInstance3DBoxes)
    return Compose([
        dict(type='mmkd.LoadCameraImages', cameras=NAMES),
        dict(type='mmkd.MultiViewImageAug', size=(32, 96)), dict(type='mmkd.BEVAug'),
        dict(type='mmkd.PointsToDepthMaps', stride=16),
        dict(type='mmkd.PackBEVInputs', keys=list(keys))])(info)


def test_a_pipeline_packs_all_that_the_model_wants(info):
    item = packed(info)
    assert item['inputs']['img'].shape == (3, 3, 32, 96)
    assert item['inputs']['img'].dtype == torch.uint8
    sample = item['data_samples']
    assert sample.gt_depth_maps.shape == (3, 2, 6)
    assert sample.camera_names == NAMES and sample.token == 'abc'
    assert cameras_of(sample.metainfo).img_aug.shape == (1, 3, 4, 4)
    assert len(sample.gt_instances_3d.bboxes_3d) == 2
    assert 'gt_depth_maps' in sample.keys()  # a field: it goes to the device with the sample


def test_without_augmentation_the_matrices_are_identities(info):
    results = LoadCameraImages()(info) | dict(box_type_3d=LiDARInstance3DBoxes)
    meta = PackBEVInputs(keys=['img'])(results)['data_samples'].metainfo
    np.testing.assert_array_equal(meta['lidar_aug_matrix'], np.eye(4))
    np.testing.assert_array_equal(meta['img_aug_matrix'][0], np.eye(4))


def test_depth_maps_that_nobody_made_are_told(info):
    with pytest.raises(ValueError, match='PointsToDepthMaps'):
        PackBEVInputs(keys=['img', 'gt_depth_maps'])(LoadCameraImages()(info))


@pytest.mark.parametrize('change', [
    dict(type='mmdet3d.GlobalRotScaleTrans', rot_range=[.1, .2], scale_ratio_range=[1., 1.]),
    dict(type='mmdet3d.GlobalRotScaleTrans', rot_range=[0, 0], scale_ratio_range=[1.1, 1.2]),
    dict(type='mmdet3d.RandomFlip3D', flip_ratio_bev_horizontal=1., sync_2d=False),
    dict(type='mmdet3d.RandomFlip3D', flip_ratio_bev_vertical=1., sync_2d=False)])
def test_a_scene_moved_behind_the_cameras_back_is_refused(info, change):
    from mmengine.registry import TRANSFORMS
    results = LoadCameraImages()(info) | dict(
        points=LiDARPoints(torch.rand(50, 5) * 20, points_dim=5), box_type_3d=LiDARInstance3DBoxes,
        gt_bboxes_3d=LiDARInstance3DBoxes(torch.rand(2, 9), box_dim=9))
    results = TRANSFORMS.build(change)(results)
    with pytest.raises(ValueError, match='Use mmkd.BEVAug'):
        PackBEVInputs(keys=['img', 'points'])(results)


def test_images_resized_behind_the_cameras_back_are_refused(info):
    results = LoadCameraImages()(info) | dict(box_type_3d=LiDARInstance3DBoxes)
    results['img'] = [image[::2, ::2] for image in results['img']]
    with pytest.raises(ValueError, match='Use mmkd.MultiViewImageAug'):
        PackBEVInputs(keys=['img'])(results)
