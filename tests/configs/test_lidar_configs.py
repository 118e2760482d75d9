"""Configs of LiDAR detectors that teach LiDAR detectors: they build, agree with the zoo and train.

The networks keep their structure and their grids and lose their width.
"""
import copy
import importlib.util

import pytest
import torch
from mmengine.registry import DefaultScope

from mmkd.results.metafiles import zoo_indices_read_once
from mmkd.utils.configs import load_model_config
from tests.detectors3d import bev_batch

from .common import LEAVES, STUDENTS, check_terms, read, train_one_step

METHODS = ('sparsekd', 'pointdistiller', 'itkd')
LEAVES = [path for path in LEAVES if path.startswith(tuple(f'det3d/{m}/' for m in METHODS))]
STUDENTS = [path for path in STUDENTS if path.endswith('-3d.py') or 'kitti-3d' in path]
CODES = dict(NuScenesDataset=9, KittiDataset=7)
SPCONV = importlib.util.find_spec('spconv') is not None

pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module', autouse=True)
def quick():
    with zoo_indices_read_once(), DefaultScope.overwrite_default_scope('mmdet3d'):
        yield


def part(model, name):
    return model.get(f'pts_{name}') or model.get(name)


def narrow(model):
    """A quarter of the width, and one layer for each stage; a copy."""
    model = copy.deepcopy(model)
    encoder, middle = part(model, 'voxel_encoder'), part(model, 'middle_encoder')
    backbone, neck, head = (part(model, name) for name in ('backbone', 'neck', 'bbox_head'))
    backbone.update(out_channels=quarter(backbone.out_channels),
                    layer_nums=[1] * len(backbone.layer_nums))
    neck.update(in_channels=backbone.out_channels, out_channels=quarter(neck.out_channels))
    head.in_channels = sum(neck.out_channels)
    if 'feat_channels' in encoder:
        encoder.feat_channels = quarter(encoder.feat_channels)
        middle.in_channels = backbone.in_channels = encoder.feat_channels[-1]
    if 'feat_channels' in head:
        head.feat_channels = head.in_channels
    else:
        head.share_conv_channel, head.separate_head.head_conv = 8, 8
    return model


def quarter(channels):
    return [number // 4 for number in channels]


def innermost(cfg):
    dataset = cfg.train_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def batch_of(cfg, model):
    """Points and boxes in the range of a model."""
    area = model.data_preprocessor.voxel_layer.point_cloud_range
    code = CODES[innermost(cfg).type]
    return bev_batch(area=area, features=5 if code == 9 else 4, code=code, points=3000)


@pytest.mark.parametrize('path', LEAVES)
def test_leaf_takes_a_training_step(path):
    cfg = read(path)
    teacher = load_model_config(cfg.model.teacher.config)[0]
    if 'Sparse' in part(teacher, 'middle_encoder').type and not SPCONV:
        pytest.skip('voxels need spconv on a CPU')
    cfg.model.teacher = dict(config=dict(model=narrow(teacher), default_scope='mmdet3d'),
                             allow_random=True)
    cfg.model.student = narrow(cfg.model.student)
    model, logged = train_one_step(cfg, cfg.model, batch_of(cfg, cfg.model.student))
    check_terms(cfg, model, logged)


@pytest.mark.parametrize('path', LEAVES)
def test_student_and_teacher_are_of_one_data_set(path):
    cfg = read(path)
    teacher, student = load_model_config(cfg.model.teacher.config)[0], cfg.model.student
    ranges = [model.data_preprocessor.voxel_layer.point_cloud_range for model in (teacher, student)]
    assert ranges[0] == ranges[1]
    heads = [part(model, 'bbox_head') for model in (teacher, student)]
    assert heads[0].get('tasks') == heads[1].get('tasks')
    assert heads[0].get('num_classes') == heads[1].get('num_classes')
    assert [hook.type for hook in cfg.custom_hooks] == ['mmkd.ExactResumeHook']


@pytest.mark.parametrize('path', STUDENTS)
def test_student_alone_takes_a_training_step(path):
    cfg = read(path)
    if 'Sparse' in part(cfg.model, 'middle_encoder').type and not SPCONV:
        pytest.skip('voxels need spconv on a CPU')
    torch.manual_seed(0)
    model = narrow(cfg.model)
    _, logged = train_one_step(cfg, model, batch_of(cfg, model))
    assert any(key.endswith('loss_bbox') for key in logged)
