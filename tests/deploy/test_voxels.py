"""Detectors of pillars: PointPillars with one level and two, CenterPoint with both kinds of NMS."""
import copy
import importlib.util
import os

import numpy as np
import pytest
import torch
from mmdet3d.structures import Det3DDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmkd.deploy.tasks import TASKS, predict, task_for
from tests.cli import ROOT
from tests.deploy.detectors import DetectorPair
from tests.detectors3d import RANGE, centerpoint, pointpillars
from tests.helpers import build

PIPELINE = [dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
            dict(type='PointsRangeFilter', point_cloud_range=list(RANGE)),
            dict(type='Pack3DDetInputs', keys=['points'])]


def cloud(path, seed, points=1500):
    """A file of points, more of them near the middle."""
    random = np.random.default_rng(seed)
    values = random.normal(0, [4, 4, .7, 1, 1], (points, 5)).astype(np.float32)
    values.tofile(path)
    return str(path)


def config(model):
    return Config(dict(default_scope='mmdet3d', model=model, test_dataloader=dict(
        dataset=dict(pipeline=PIPELINE, box_type_3d='LiDAR'))))


def without_velocity():
    model = centerpoint()
    model.pts_bbox_head.common_heads.pop('vel')
    model.pts_bbox_head.bbox_coder.code_size = 7
    return model


def levels():
    """PointPillars on a pyramid, as for nuScenes."""
    model = pointpillars(features=5)
    model.neck = dict(type='mmdet.FPN', in_channels=[8, 16], out_channels=16, num_outs=2)
    model.bbox_head.anchor_generator = dict(
        type='AlignedAnchor3DRangeGenerator', scales=[1, 2],
        ranges=[[*RANGE[:2], -1., *RANGE[3:5], -1.]], sizes=[[3.9, 1.6, 1.56], [1., 1., 1.7]],
        rotations=[0, 1.57], reshape_out=True)
    model.bbox_head.assign_per_class = False
    model.train_cfg.assigner = model.train_cfg.assigner[0]
    return model


def circle():
    model = centerpoint()
    model.test_cfg.pts.update(nms_type='circle', min_radius=[1., 1.])
    return model


CENTERS = [f'pts_bbox_head.task_heads.{i}.heatmap.1' for i in range(2)]
ANCHORS = ['bbox_head.conv_cls']
MODELS = dict(pillars=(lambda: pointpillars(features=5), ANCHORS), levels=(levels, ANCHORS),
              rotate=(centerpoint, CENTERS), circle=(circle, CENTERS),
              no_velocity=(without_velocity, CENTERS))


def make(kind, folder, **options):
    model, finals = MODELS[kind]
    cfg = config(model())
    files = [cloud(folder / f'{seed}.bin', seed, points)
             for seed, points in enumerate((1500, 400, 3000))]
    items = [TASKS['voxel-detection'].read(cfg, file) for file in files]
    return DetectorPair(cfg, 'voxel-detection', folder, items, finals, bias=-1.,
                        **options), items


@pytest.mark.parametrize('kind', MODELS)
def test_boxes_are_those_of_pytorch(kind, tmp_path):
    pair, items = make(kind, tmp_path)
    pair.assert_same(least=10)
    if kind == 'rotate':
        # the canvas of zeros is not in the file, nor does a batch become one map
        assert os.path.getsize(pair.path) < 1.2 * sum(
            p.numel() for p in pair.pytorch.parameters()) * 4 + 60_000
        with torch.no_grad():
            both = pair.exported.backend.test_step(pseudo_collate(copy.deepcopy(items[:2])))
        for found, item in zip(both, items, strict=False):
            wanted = predict(pair.exported.backend, item).pred_instances_3d
            assert torch.equal(found.pred_instances_3d.bboxes_3d.tensor, wanted.bboxes_3d.tensor)


@pytest.mark.parametrize('most', [(5, 2000), (2, 40)])
def test_numpy_makes_the_same_pillars(most, tmp_path):
    """docs/examples/run_onnx_pillars.py beside mmdet3d's own voxelization."""
    spec = importlib.util.spec_from_file_location(
        'pillars', os.path.join(ROOT, 'docs', 'examples', 'run_onnx_pillars.py'))
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    points, each = (torch.from_numpy(np.fromfile(cloud(tmp_path / 'a.bin', 0), np.float32))
                    .view(-1, 5), [1., 1., 4.])
    model = centerpoint()
    model.data_preprocessor.voxel_layer.update(max_num_points=most[0],
                                               max_voxels=(most[1], most[1]))
    preprocessor = build(model).data_preprocessor
    wanted = preprocessor(dict(inputs=dict(points=[points]), data_samples=[Det3DDataSample()]),
                          False)['inputs']['voxels']
    got = example.pillars(points.numpy(), RANGE, each, *most)
    assert list(got) == ['voxels', 'num_points', 'coors']
    for name, value in got.items():
        assert np.array_equal(value, wanted[name].numpy()), name


@pytest.mark.parametrize('change, words', [
    (lambda model: setattr(model, 'pts_middle_encoder', torch.nn.Identity()), 'is Identity, and'),
    (lambda model: setattr(model.data_preprocessor, 'voxel_type', 'dynamic'), "type 'dynamic'"),
    (lambda model: setattr(model, 'pts_middle_encoder', None), 'is NoneType, and')])
def test_other_voxels_are_refused_with_the_reason(change, words):
    model = build(centerpoint())
    assert task_for(model) is TASKS['voxel-detection']
    change(model)
    with pytest.raises(ValueError, match=f'CenterPoint cannot be exported: its.*{words}'):
        task_for(model)
