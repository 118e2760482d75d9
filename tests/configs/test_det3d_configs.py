"""3D detection's configs are what their names say, load what both sides read, and train.

The networks keep their structure and lose their width.
"""
import functools
import os
import re

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope

from mmkd.results.metafiles import zoo_indices_read_once
from mmkd.utils.configs import load_model_config
from tests.datasets.nuscenes_folders import write_nuscenes

from .common import LEAVES, check_terms, read, train_one_step
from .narrow_detectors3d import narrow
from .test_bevdet_configs import innermost

LEAVES = [path for path in LEAVES if path.startswith('det3d/')]
NAMES = re.compile(
    r'(?P<method>[a-z0-9_]+?)_(?P<teacher>[a-z0-9-]+)_(?P<student>[a-z0-9-]+)_(?P<gpus>\d+)xb'
    r'(?P<batch>\d+)-(?P<schedule>[a-z0-9-]+)_(?P<data>nus|kitti)-[a-z0-9-]+\.py')

# mmengine's reading of configs warns about pkg_resources.
pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module', autouse=True)
def quick():
    with zoo_indices_read_once():
        yield


@functools.cache
def teacher_config(path):
    return load_model_config(read(path).model.teacher.config)[0]


def is_on_cameras(path):
    """Whether the images of several cameras are read, of which there are tiny folders."""
    steps = innermost(read(path).train_dataloader.dataset).pipeline
    return any(step.type == 'mmkd.LoadCameraImages' for step in steps)


CAMERA_LEAVES = [path for path in LEAVES if is_on_cameras(path)]


@pytest.fixture(scope='module')
def nuscenes(tmp_path_factory):
    root = tmp_path_factory.mktemp('nuscenes')
    write_nuscenes(root, points=20000)  # some in every box
    return str(root)


@pytest.mark.parametrize('path', LEAVES)
def test_leaf_says_what_its_name_says(path):
    """<method>_<teacher>_<student>_<gpus>xb<batch>-<schedule>_<data>-<input>"""
    folder, file = os.path.split(path)
    name = NAMES.fullmatch(file)
    assert re.match(rf'{os.path.basename(folder)}(_|$)', name['method'])
    cfg = read(path)
    assert cfg.model.type == 'mmkd.OfflineDistiller'
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    hooks = [hook.type for hook in cfg.custom_hooks]
    assert hooks.count('mmkd.ExactResumeHook') == 1
    teacher = cfg.model.teacher
    assert '://' in teacher.checkpoint or teacher.checkpoint.startswith('work_dirs/')


@pytest.mark.parametrize('path', CAMERA_LEAVES)
def test_one_pipeline_loads_what_both_sides_read(path):
    steps = [step.type for step in innermost(read(path).train_dataloader.dataset).pipeline]
    models = (read(path).model.student, teacher_config(path))
    for part, step in (('pts_voxel_encoder', 'LoadPointsFromFile'),
                       ('img_backbone', 'mmkd.LoadCameraImages')):
        assert (step in steps) >= any(part in model for model in models)
    assert 'mmkd.BEVAug' in steps and not {'GlobalRotScaleTrans', 'RandomFlip3D'} & set(steps)


@pytest.mark.parametrize('path', CAMERA_LEAVES)
def test_depth_is_that_of_the_images_time(path):
    """In earlier sweeps what moves is elsewhere: they are loaded for the teacher, afterwards."""
    steps = innermost(read(path).train_dataloader.dataset).pipeline
    kinds, view = [step.type for step in steps], read(path).model.student.get(
        'img_view_transformer', {})
    assert ('mmkd.PointsToDepthMaps' in kinds) == ('depth_supervision' in view)
    if 'depth_supervision' in view:
        at = kinds.index('mmkd.PointsToDepthMaps')
        assert steps[at].stride == view.stride
        assert tuple(steps[at].depth_range) == tuple(view.depth_bins[:2])
        assert kinds.index('mmkd.MultiViewImageAug') < at < kinds.index('LoadPointsFromMultiSweeps')


@pytest.mark.parametrize('path', CAMERA_LEAVES)
def test_leaf_takes_a_training_step_on_nuscenes_folders(path, nuscenes):
    cfg = read(path)
    cfg.model.teacher = dict(config=dict(model=narrow(teacher_config(path)),
                                         default_scope='mmdet3d'),
                             checkpoint=None, allow_random=True)
    cfg.model.student = narrow(cfg.model.student)
    for term in cfg.model.distillations.values():  # from the first step on
        term.pop('schedule', None)
    dataset = innermost(cfg.train_dataloader.dataset)
    dataset.data_root = nuscenes
    for step in dataset.pipeline:
        if step.type == 'mmkd.MultiViewImageAug':
            step.size = (64, 176)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        data = DATASETS.build(dataset)
        batch = pseudo_collate([data[0], data[1]])
    model, logged = train_one_step(cfg, cfg.model, batch)
    check_terms(cfg, model, logged, every_part=False)
