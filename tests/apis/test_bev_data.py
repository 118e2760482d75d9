"""3D data that are not there, or do not fit the networks, are told before anything is built."""
import pickle
import shutil

import numpy as np
import pytest
from mmdet3d.datasets import NuScenesDataset
from mmengine.config import Config

from mmkd.apis import check_datasets
from tests.datasets.nuscenes_folders import CAMERAS, write_nuscenes
from tests.detectors3d import centerpoint
from tests.models.bev.rigs import CLASSES, RANGE, tiny_model

TASKS = (CLASSES[:4], CLASSES[4:])
PREFIX = dict(pts='samples/LIDAR_TOP', sweeps='sweeps/LIDAR_TOP',
              **{name: f'samples/{name}' for name in CAMERAS})
POINTS = [dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
          dict(type='PointsRangeFilter', point_cloud_range=list(RANGE))]
IMAGES = [dict(type='mmkd.LoadCameraImages', cameras=list(CAMERAS))]


@pytest.fixture
def root(tmp_path):
    write_nuscenes(tmp_path / 'data')
    return tmp_path / 'data'


def change(root, how, split='train'):
    """Rewrite the infos of a split: ``how`` changes the list of samples in place."""
    path = root / f'nuscenes_infos_{split}.pkl'
    content = pickle.loads(path.read_bytes())
    how(content['data_list'])
    path.write_bytes(pickle.dumps(content))


def config(root, student=None, teacher=None, steps=(*POINTS, *IMAGES), keys=('points', 'img'),
           classes=CLASSES, val_keys=('img',)):
    def loader(split, keys):
        return dict(batch_size=2, dataset=dict(
            type='NuScenesDataset', data_root=str(root), ann_file=f'nuscenes_infos_{split}.pkl',
            data_prefix=PREFIX, metainfo=dict(classes=list(classes)), box_type_3d='LiDAR',
            modality=dict(use_lidar=True, use_camera=True), test_mode=split == 'val',
            pipeline=[*steps, dict(type='mmkd.PackBEVInputs', keys=[*keys])]))
    model = dict(type='mmkd.OfflineDistiller', student=student or tiny_model(),
                 teacher=dict(config=dict(model=teacher or centerpoint(area=RANGE, tasks=TASKS),
                                          default_scope='mmdet3d')), distillations={})
    return Config(dict(default_scope='mmdet3d', model=model, train_dataloader=loader('train', keys),
                       val_dataloader=loader('val', val_keys)))


def told(cfg, *parts, error=ValueError):
    with pytest.raises(error) as info:
        check_datasets(cfg)
    for part in parts:
        assert part in str(info.value), (part, str(info.value))


def test_what_fits_passes(root):
    train, val = check_datasets(config(root))
    assert (train.kind, train.count, train.names) == ('NuScenesDataset', 2, tuple(CLASSES))
    assert train.notes == val.notes == []


@pytest.mark.parametrize('keys, folder', [(('img',), 'LIDAR_TOP'), (('points',), 'CAM_BACK')])
def test_files_that_nobody_reads_may_be_missing(root, keys, folder):
    """A student of cameras is evaluated without sweeps, one of LiDAR without pictures."""
    cfg = config(root, student=tiny_model() if 'img' in keys else centerpoint(
        area=RANGE, tasks=TASKS), val_keys=keys)
    cfg.val_dataloader.dataset.pipeline = [
        *(IMAGES if 'img' in keys else POINTS), dict(type='mmkd.PackBEVInputs', keys=[*keys])]
    shutil.rmtree(root / 'samples' / folder)
    assert len(check_datasets(cfg, ['val_dataloader'])) == 1
    told(cfg, f'samples/{folder}', error=FileNotFoundError)  # the train pipeline reads both
    (root / 'samples' / folder).mkdir()
    assert len(check_datasets(cfg, ['val_dataloader'])) == 1
    told(cfg, f'{folder}/a__')


def test_boxes_are_counted(root):
    change(root, lambda infos: infos[1].update(instances=[]))
    cfg = config(root)
    assert check_datasets(cfg)[0].notes == [
        '1 of 2 samples have no box and are left out (filter_empty_gt)']
    cfg.train_dataloader.dataset.filter_empty_gt = False
    assert check_datasets(cfg)[0].notes == ['1 of 2 samples have no box']


def test_boxes_of_no_sample(root):
    change(root, lambda infos: [info.update(instances=[]) for info in infos])
    cfg = config(root)
    told(cfg, 'no sample has a box of the classes that counts', 'filter_empty_gt=False')
    cfg.train_dataloader.dataset.filter_empty_gt = False
    assert len(check_datasets(cfg)) == 2


# ---- what is missing in the data ---------------------------------------------------------------
def test_an_empty_sweep(root):
    (root / 'samples/LIDAR_TOP/a__LIDAR_TOP__1.bin').write_bytes(b'')
    told(config(root), '1 of 2 sweeps that', 'are empty (0 bytes), the first is',
         'a__LIDAR_TOP__1.bin')


def test_a_picture_without_a_byte(root):
    (root / 'samples/CAM_BACK/a__CAM_BACK__1.jpg').write_bytes(b'')
    told(config(root), '1 of 2 pictures of CAM_BACK are empty (0 bytes)', 'a__CAM_BACK__1.jpg')


@pytest.mark.parametrize('size', [4 * 501, 4 * 3, 7])
def test_sweeps_that_are_no_rows_of_points(root, size):
    (root / 'samples/LIDAR_TOP/a__LIDAR_TOP__1.bin').write_bytes(bytes(size))
    told(config(root), '1 of 2 sweeps are no points of 5 float32, as LoadPointsFromFile reads them '
                       '(load_dim=5)', f'a__LIDAR_TOP__1.bin with {size} bytes')


@pytest.mark.parametrize('column', [0, 2, 3])
@pytest.mark.parametrize('filtered', [False, True])
def test_points_that_are_not_finite(root, column, filtered):
    path = root / 'samples/LIDAR_TOP/a__LIDAR_TOP__1.bin'
    points = np.fromfile(path, np.float32).reshape(-1, 5)
    points[7, column] = np.nan
    points[9, column] = np.inf
    points.tofile(path)
    cfg = config(root, steps=POINTS[:2 if filtered else 1] + IMAGES)
    if filtered and column < 3:
        assert len(check_datasets(cfg)) == 2
    else:
        told(cfg, 'values that are not finite', 'a__LIDAR_TOP__1.bin', 'PointsRangeFilter')


def test_earlier_sweeps(root):
    def add(infos):
        for info in infos:
            info['lidar_sweeps'] = [dict(lidar_points=dict(lidar_path=f'x/{name}.bin'))
                                    for name in 'ab']
    change(root, add)
    (root / 'sweeps/LIDAR_TOP/a.bin').write_bytes(bytes(60))
    cfg = config(root, steps=[POINTS[0], dict(type='LoadPointsFromMultiSweeps', sweeps_num=2),
                              *IMAGES])
    told(cfg, '2 of 4 earlier sweeps', 'do not exist', 'b.bin', 'data_prefix.sweeps')
    (root / 'sweeps/LIDAR_TOP/b.bin').write_bytes(bytes(50))
    told(cfg, 'as LoadPointsFromMultiSweeps reads them (load_dim=5)', 'b.bin with 50 bytes')
    assert len(check_datasets(config(root))) == 2  # nothing reads them


@pytest.mark.parametrize('name, what', [('LIDAR_TOP/a__LIDAR_TOP__1.bin', '1 of 2 sweeps'),
                                        ('CAM_BACK/a__CAM_BACK__0.jpg',
                                         '1 of 2 pictures of CAM_BACK')])
def test_files_that_are_not_there(root, name, what):
    (root / 'samples' / name).unlink()
    told(config(root), what, 'do not exist', name)


def test_a_camera_that_is_missing(root):
    change(root, lambda infos: infos[1]['images'].pop('CAM_BACK_LEFT'))
    told(config(root), "1 of 2 samples have no camera 'CAM_BACK_LEFT', the first is sample 't1'",
         'it has CAM_FRONT, ')


def test_a_camera_that_no_sample_has(root):
    change(root, lambda infos: [info['images'].pop('CAM_BACK') for info in infos])
    told(config(root), "2 of 2 samples have no camera 'CAM_BACK', the first is sample 't0'")


def test_a_camera_that_the_pipeline_does_not_read(root):
    change(root, lambda infos: infos[1]['images'].pop('CAM_BACK'))
    change(root, lambda infos: infos[0]['images']['CAM_BACK'].pop('cam2img'))
    others = [name for name in CAMERAS if name != 'CAM_BACK']
    cfg = config(root, steps=[*POINTS, dict(type='mmkd.LoadCameraImages', cameras=others)])
    assert len(check_datasets(cfg)) == 2


@pytest.mark.parametrize('key, what', [('images', 'images'), ('lidar_points', 'points')])
def test_a_modality_that_a_sample_lacks(root, key, what):
    change(root, lambda infos: infos[1].pop(key))
    told(config(root), '1 of 2 samples of', f"have no {key!r}, the first is sample 't1'", what)


@pytest.mark.parametrize('key, value', [
    ('cam2img', None), ('lidar2cam', [[0.] * 4] * 4), ('cam2img', [[float('nan')] * 3] * 3)])
def test_calibration_that_is_missing_or_none(root, key, value):
    change(root, lambda infos: infos[0]['images']['CAM_FRONT'].update({key: value}))
    told(config(root), f'1 of 12 pictures have no {key} that is finite and has an inverse, the '
                       "first is CAM_FRONT of sample 't0'")


def test_boxes_that_are_not_finite(root):
    change(root, lambda infos: infos[1]['instances'][0].update(bbox_3d=[float('nan')] * 7), 'val')
    told(config(root), "of val_dataloader: boxes of 1 samples are not finite, the first of sample "
                       "'t1'")


def test_infos_that_are_none(root):
    (root / 'nuscenes_infos_train.pkl').write_bytes(pickle.dumps([1]))
    told(config(root), 'cannot be read as its infos', 'create_data.py')


# ---- what does not fit the networks ------------------------------------------------------------
def test_a_lidar_teacher_without_points(root):
    told(config(root, steps=IMAGES, keys=['img', 'gt_bboxes_3d']),
         'the teacher (CenterPoint) reads points, but the pipeline of train_dataloader packs img, '
         'gt_bboxes_3d', 'LoadPointsFromFile')


def test_a_camera_teacher_without_images(root):
    cfg = config(root, centerpoint(area=RANGE, tasks=TASKS), tiny_model(), POINTS, ['points'],
                 val_keys=['points'])
    told(cfg, 'the teacher (BEVDet) reads images, but the pipeline of train_dataloader packs '
              'points', 'mmkd.LoadCameraImages')


def test_a_student_that_is_not_given_what_it_reads_where_it_is_evaluated(root):
    told(config(root, val_keys=['points']), 'the student (BEVDet) reads images, but the pipeline '
                                            'of val_dataloader packs points')


def test_points_that_are_cut_off(root):
    steps = [POINTS[0], dict(type='PointsRangeFilter', point_cloud_range=[-20, -48, -5, 32, 48, 3]),
             *IMAGES]
    told(config(root, steps=steps), 'PointsRangeFilter of train_dataloader keeps [-20, -48, -5, 32,'
                                    ' 48, 3], but the voxels of the teacher (CenterPoint) cover')


def test_classes_of_a_head_in_another_order(root):
    told(config(root, classes=NuScenesDataset.METAINFO['classes']),
         'the head of the student calls its classes car, truck, construction_vehicle, bus, trailer '
         '... (10), but NuScenesDataset of train_dataloader has car, truck, trailer')


@pytest.mark.parametrize('key, step', [('use_lidar', 'LoadPointsFromFile'),
                                       ('use_camera', 'LoadCameraImages')])
def test_a_modality_whose_paths_are_not_completed(root, key, step):
    cfg = config(root)
    cfg.train_dataloader.dataset.modality[key] = False
    told(cfg, f'{step} in the pipeline of train_dataloader loads', f'Set modality=dict({key}=True')


def test_a_model_without_a_teacher(root):
    cfg = config(root)
    cfg.model = tiny_model()
    assert len(check_datasets(cfg)) == 2
    cfg.train_dataloader.dataset.pipeline[-1]['keys'] = ['points']
    told(cfg, 'model (BEVDet) reads images')
