"""nuScenes with the keyframe before each."""
import pickle

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope

from mmkd.datasets.drawn import write_nuscenes
from mmkd.datasets.sequences import previous_frames
from mmkd.models.bev.geometry import camera_matrices
from mmkd.utils.configs import read_config


def test_the_latest_earlier_frame_of_the_drive():
    drives = ['a', 'b', 'a', 'a', 'b', 'a']
    times = [1., 1.1, 1.5, .5, 1.6, 9.]
    assert previous_frames(drives, times, 1.2) == [3, None, 0, None, 1, None]


def test_two_frames_of_one_time_are_no_sequence():
    assert previous_frames(['a', 'a'], [1., 1.], 1.2) == [None, None]
    assert previous_frames([], [], 1.2) == []


def info(drive, time, **more):
    camera = dict(img_path=f'{drive}__CAM_FRONT__{time}.jpg', cam2img=[[1., 0, 0], [0, 1, 0],
                                                                      [0, 0, 1]])
    eye = [[float(i == j) for j in range(4)] for i in range(4)]
    return dict(token=f'{drive}{time}', timestamp=time, ego2global=eye,
                images=dict(CAM_FRONT=dict(camera, lidar2cam=eye)), instances=[],
                lidar_points=dict(lidar_path=f'{drive}__LIDAR_TOP__{time}.bin', num_pts_feats=5,
                                  lidar2ego=eye), **more)


def build(tmp_path, infos, **args):
    with open(tmp_path / 'infos.pkl', 'wb') as file:
        pickle.dump(dict(metainfo=dict(dataset='nuscenes', version='v1.0-mini',
                                       categories={'car': 0}), data_list=infos), file)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return DATASETS.build(dict(
            type='mmkd.NuScenesSequenceDataset', data_root=str(tmp_path), ann_file='infos.pkl',
            data_prefix=dict(pts='points', CAM_FRONT='front'), filter_empty_gt=False,
            modality=dict(use_lidar=True, use_camera=True), **args))


def test_the_data_set_hands_it_on(tmp_path):
    infos = [info('drive1', 1.5), info('drive1', 1.), info('drive2', 1.), info('drive1', 7.)]
    for serialize in (True, False):
        dataset = build(tmp_path, infos, serialize_data=serialize)
        before = [dataset.get_data_info(i)['previous'] for i in range(4)]
        assert [b and b['token'] for b in before] == ['drive11.0', None, None, None]
        path = before[0]['images']['CAM_FRONT']['img_path']
        assert path == str(tmp_path / 'front' / 'drive1__CAM_FRONT__1.0.jpg')
        assert 'instances' not in before[0]
        # a part of the data set, too: its first is now the one of before
        assert dataset.get_subset([0, 2]).get_data_info(0)['previous']['token'] == 'drive11.0'


def test_max_gap_and_scene_token(tmp_path):
    infos = [info('drive1', 1.), info('drive1', 1.5), info('drive1', 3.)]
    dataset = build(tmp_path, infos, max_gap=2.)
    assert dataset.get_data_info(2)['previous']['token'] == 'drive11.5'
    assert build(tmp_path, infos).get_data_info(2)['previous'] is None
    infos = [info('drive1', 1., scene_token='a'), info('drive1', 1.5, scene_token='b')]
    assert build(tmp_path, infos).get_data_info(1)['previous'] is None


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """A drawn drive of three keyframes, whose car moves and turns."""
    return write_nuscenes(str(tmp_path_factory.mktemp('drawn')), train=1, val=1, keyframes=3,
                          width=256, height=144, progress=False)


def still_in_the_world(info, labels):
    """Which boxes of a sample stand still, and their (M, 3) centers in the world."""
    boxes = info['ann_info']['gt_bboxes_3d'].gravity_center
    still = np.isin(info['ann_info']['gt_labels_3d'], labels)
    matrix = np.array(info['ego2global']) @ np.array(info['lidar_points']['lidar2ego'])
    return still, boxes.numpy()[still] @ matrix[:3, :3].T + matrix[:3, 3]


def test_what_stands_still_is_where_the_earlier_cameras_saw_it(drawn):
    """Poses, infos and matrices: cones and barriers in the pictures of the frame before.

    A box of this frame, augmented, and projected into the earlier cameras, is where the same box of
    the earlier frame is projected by its own calibration.
    """
    cfg = read_config('configs/_base_/datasets/nus-bev-256x704.py')
    labels = [cfg.class_names.index(name) for name in ('traffic_cone', 'barrier')]
    dataset_cfg = cfg.train_dataloader.dataset.dataset
    dataset_cfg.update(type='mmkd.NuScenesSequenceDataset', data_root=drawn, pipeline=[
        dict(type='mmkd.LoadCameraImages'), dict(type='mmkd.LoadPreviousFrame'),
        dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
        dict(type='mmkd.MultiViewImageAug', size=(128, 224)), dict(type='mmkd.BEVAug'),
        dict(type='mmkd.PackBEVInputs', keys=['img', 'gt_bboxes_3d', 'gt_labels_3d'])])
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        dataset = DATASETS.build(dataset_cfg)
        infos = [dataset.get_data_info(i) for i in range(3)]
        items = [dataset[i]['data_samples'] for i in range(3)]
    assert [bool(info['previous']) for info in infos] == [False, True, True]
    checked = 0
    for i in (1, 2):
        (still, here), (still_before, there) = (still_in_the_world(infos[k], labels)
                                                for k in (i, i - 1))
        gaps = np.linalg.norm(here[:, None] - there, axis=-1)
        pairs = np.argwhere(gaps < .1)  # annotated in both
        boxes = items[i].gt_instances_3d.bboxes_3d.gravity_center[still]
        pixels, depth = camera_matrices([items[i].metainfo]).cameras(6, 12).project(boxes[None])
        own = camera_matrices([dict(  # the earlier frame alone, its images moved like these
            items[i - 1].metainfo, lidar_aug_matrix=np.eye(4), cam2img=items[i - 1].cam2img[:6],
            lidar2cam=items[i - 1].lidar2cam[:6], img_aug_matrix=items[i].img_aug_matrix[6:])])
        centers = infos[i - 1]['ann_info']['gt_bboxes_3d'].gravity_center[still_before]
        expected, expected_depth = own.project(centers[None])
        for a, b in pairs:
            seen = expected_depth[0, :, b] > 2
            assert (pixels[0, :, a] - expected[0, :, b])[seen].abs().max() < .1
            assert (depth[0, :, a] - expected_depth[0, :, b]).abs().max() < .01
            checked += 1
    assert checked >= 5
    assert np.linalg.norm((np.array(infos[1]['ego2global'])
                           - infos[2]['ego2global'])[:3, 3]) > 1  # the car has moved
