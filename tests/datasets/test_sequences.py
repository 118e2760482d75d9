"""nuScenes with the keyframe before each."""
import pickle

from mmengine.registry import DATASETS, DefaultScope

from mmkd.datasets.sequences import previous_frames


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
