"""mmdet3d reads the tree with its own info files and scores it with its own metric."""
import copy

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from .conftest import ARGUMENTS

CAMERAS = ['CAM_FRONT', 'CAM_FRONT_LEFT', 'CAM_FRONT_RIGHT', 'CAM_BACK', 'CAM_BACK_LEFT',
           'CAM_BACK_RIGHT']
PIPELINE = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
    dict(type='LoadPointsFromMultiSweeps', sweeps_num=9, use_dim=5, test_mode=True),
    dict(type='LoadMultiViewImageFromFiles', to_float32=True),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='Pack3DDetInputs', keys=['points', 'img', 'gt_bboxes_3d', 'gt_labels_3d'],
         meta_keys=['token', 'sample_idx', 'lidar2cam', 'cam2img'])]


def build(tree, split, **changes):
    import mmdet3d.datasets  # noqa: F401  (registers the classes)
    from mmdet3d.registry import DATASETS
    prefix = dict(pts='samples/LIDAR_TOP', sweeps='sweeps/LIDAR_TOP',
                  **{name: f'samples/{name}' for name in CAMERAS})
    cfg = dict(type='NuScenesDataset', data_root=str(tree.root), data_prefix=prefix,
               ann_file=f'nuscenes_infos_{split}.pkl', pipeline=PIPELINE, use_valid_flag=True,
               modality=dict(use_lidar=True, use_camera=True), **changes)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return DATASETS.build(cfg)


@pytest.fixture(scope='module', params=['train', 'val'])
def loaded(tree, request):
    dataset = build(tree, request.param)
    assert len(dataset) == ARGUMENTS[request.param] * ARGUMENTS['keyframes']
    return dataset


def test_pictures_points_and_boxes_are_loaded(loaded):
    for i, item in enumerate(loaded):
        assert item['inputs']['img'].shape == (6, 3, ARGUMENTS['height'], ARGUMENTS['width'])
        points = item['inputs']['points']
        assert points.shape[1] == 5 and torch.isfinite(points).all()
        scans = 4 if i % ARGUMENTS['keyframes'] else 3  # the previous keyframe's, too
        assert torch.allclose(points[:, 4].unique(), torch.arange(scans) / 6, atol=1e-3)
        boxes = item['data_samples'].gt_instances_3d
        assert len(boxes.bboxes_3d) == len(boxes.labels_3d) > 5
        assert torch.isfinite(boxes.bboxes_3d.tensor).all()


def test_sweeps_reach_half_a_second_back(loaded):
    """To the previous keyframe and no further; the first keyframe has those that lead up to it."""
    for i in range(len(loaded)):
        info = loaded.get_data_info(i)
        first = i % ARGUMENTS['keyframes'] == 0
        ages = [info['timestamp'] - sweep['timestamp'] for sweep in info['lidar_sweeps']]
        assert np.allclose(ages, np.arange(1, 3 if first else 4) / 6, atol=1e-3)


def test_previous_keyframe_is_the_entry_before(tree, loaded):
    """In time and in the tables; a scene's first is an hour or more from the entry before."""
    infos = [loaded.get_data_info(i) for i in range(len(loaded))]
    for before, info in zip([None, *infos], infos, strict=False):
        prev = tree.devkit.get('sample', info['token'])['prev']
        if prev:
            assert prev == before['token'] and info['timestamp'] - before['timestamp'] == 0.5
        else:
            assert before is None or info['timestamp'] - before['timestamp'] > 1000


def test_matrices_project_as_the_tables_say(tree, loaded):
    """A box's center goes to the same pixel by lidar2cam and cam2img as by the devkit."""
    from nuscenes.utils.geometry_utils import view_points
    for item in list(loaded)[:2]:
        meta = item['data_samples'].metainfo
        sample = tree.devkit.get('sample', meta['token'])
        _, held, _ = tree.devkit.get_sample_data(sample['data']['LIDAR_TOP'])
        centers = np.array([[*box.center, 1] for box in held])
        by_token = {box.token: center for box, center in zip(held, centers, strict=True)}
        for name, matrix, intrinsic in zip(
                loaded.get_data_info(0)['images'], meta['lidar2cam'], meta['cam2img'], strict=True):
            _, boxes, k = tree.devkit.get_sample_data(sample['data'][name])
            for box in boxes:
                point = np.array(matrix) @ by_token[box.token]
                np.testing.assert_allclose(
                    view_points(point[:3, None], np.array(intrinsic), True)[:2, 0],
                    view_points(box.center[:, None], k, True)[:2, 0], atol=0.05)


def score(tree, change):
    """NuScenesMetric's mAP and NDS of the val split's own boxes after ``change(instances)``."""
    from mmdet3d.registry import METRICS
    from mmengine.structures import InstanceData
    dataset = build(tree, 'val', test_mode=False)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        metric = METRICS.build(dict(
            type='NuScenesMetric', data_root=str(tree.root), metric='bbox',
            ann_file=str(tree.root / 'nuscenes_infos_val.pkl')))
    metric.dataset_meta = dataset.metainfo
    samples = []
    for item in dataset:
        truth = item['data_samples'].gt_instances_3d
        found = InstanceData(bboxes_3d=truth.bboxes_3d, labels_3d=truth.labels_3d,
                             scores_3d=1 - torch.rand(len(truth.labels_3d)))
        sample = item['data_samples'].to_dict()
        sample.update(pred_instances_3d=change(found).to_dict(),
                      pred_instances=InstanceData().to_dict())
        samples.append({**sample, 'sample_idx': item['data_samples'].sample_idx})
    metric.process({}, samples)
    result = metric.evaluate(len(samples))
    return tuple(result[f'NuScenes metric/pred_instances_3d_NuScenes/{name}']
                 for name in ('mAP', 'NDS'))


def noisy(spread):
    torch.manual_seed(0)

    def change(found):
        found = copy.deepcopy(found)
        found.bboxes_3d.tensor[:, :2] += spread * torch.randn(len(found.labels_3d), 2)
        return found
    return change


def test_metric_knows_perfect_boxes_and_punishes_noise(tree):
    perfect, nds = score(tree, lambda found: found)
    assert perfect == pytest.approx(1) and nds > 0.97
    slight, rough = (score(tree, noisy(spread))[0] for spread in (0.4, 1.5))
    assert 1 > slight > rough > 0
