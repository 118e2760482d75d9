"""Teachers whose operators mmcv has for CUDA alone: dynamic pillars, and spconv's voxels."""
import contextlib
import copy
import importlib.util

import pytest
import torch
from mmcv.ops import SparseConv2d
from mmdet3d.evaluation.metrics import nuscenes_metric
from mmengine.registry import DefaultScope
from nuscenes.utils.data_classes import Box as NuScenesBox
from pyquaternion import Quaternion

from mmkd.models.libraries import before_building, mmdet3d_cpu
from mmkd.models.libraries.mmdet3d_inputs import input_channels
from mmkd.models.teacher import build_model, fit_weights, read_weights
from tests.detectors3d import RANGE, bev_batch, bev_distiller, fcos3d, pointpillars
from tests.helpers import build, tiny_segmentor

needs_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='here is CUDA: nothing is changed')
TERMS = dict(feature=dict(tap='bev', student_connector=dict(type='mmkd.ConvConnector'),
                          loss=dict(type='mmkd.FitNetLoss')),
             scores=dict(tap='cls', loss=dict(type='mmkd.FitNetLoss')))


@pytest.fixture(autouse=True)
def _scope():
    DefaultScope.get_instance('detectors3d', scope_name='mmdet3d')


def dynamic_pillars():
    model = pointpillars(16)
    model.type = 'DynamicVoxelNet'
    model.data_preprocessor.voxel_type = 'dynamic'
    model.data_preprocessor.voxel_layer.update(max_num_points=-1, max_voxels=(-1, -1))
    model.voxel_encoder.type = 'DynamicPillarFeatureNet'
    return model


def second():
    """SECOND with voxels of 0.25 x 0.25 x 0.1 m, whose maps have cells of 2 m."""
    model = pointpillars()
    model.data_preprocessor.voxel_layer.update(voxel_size=[0.25, 0.25, 0.1])
    model.voxel_encoder = dict(type='HardSimpleVFE')
    model.middle_encoder = dict(type='SparseEncoder', in_channels=4, sparse_shape=[41, 64, 64],
                                order=('conv', 'norm', 'act'))
    model.backbone.update(in_channels=256, layer_strides=[1, 2])
    return model


def step(model):
    data = model.data_preprocessor(bev_batch(features=4, code=7), True)
    losses = model.train()(**data, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    assert all(losses[f'loss_{name}'] > 0 for name in TERMS)
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert not missing and all(torch.isfinite(p.grad).all() for p in model.parameters())


@needs_cpu
@pytest.mark.parametrize('student, teacher', [
    (pointpillars, dynamic_pillars), (dynamic_pillars, pointpillars)])
def test_dynamic_pillars(student, teacher):
    model = build(bev_distiller(TERMS, student(), teacher()))
    assert model.teachers['teacher'].own_inputs
    step(model)


@needs_cpu
@pytest.mark.skipif(importlib.util.find_spec('spconv') is not None, reason='spconv is installed')
@pytest.mark.parametrize('student, teacher, who', [
    (pointpillars, second, 'teacher'), (second, pointpillars, 'student'),
    (second, dynamic_pillars, 'student')])
def test_sparse_voxels_without_spconv(student, teacher, who):
    with pytest.raises(ValueError, match=rf'the {who} \(VoxelNet\) has sparse convolutions '
                                         r'\(middle_encoder\), .* pip install spconv'):
        build(bev_distiller(TERMS, student(), teacher()))


@pytest.mark.parametrize('cuda', [False, True])
def test_sparse_convolutions_of_mmcv(monkeypatch, cuda):
    """Those of mmcv run on a GPU; without one they are refused, whoever has them."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), SparseConv2d(4, 8, 3))
    mmdet3d_cpu.check_kernels(model[:1], 'it')
    refused = contextlib.nullcontext() if cuda else pytest.raises(
        ValueError, match='it .Sequential.* has sparse convolutions .1.,')
    with refused:
        mmdet3d_cpu.check_kernels(model, 'it')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='here is no GPU')
@pytest.mark.parametrize('student, teacher', [(pointpillars, dynamic_pillars), (second, second)])
def test_built_on_the_cpu_for_a_gpu(student, teacher):
    """mmengine's Runner builds a model before it moves it: operators of a GPU do not run yet."""
    model = build(bev_distiller(TERMS, student(), teacher()))
    assert all(p.device.type == 'cpu' for p in model.parameters())
    step(model.cuda())


@needs_cpu
@pytest.mark.skipif(importlib.util.find_spec('spconv') is None, reason='spconv is not installed')
@pytest.mark.parametrize('student, teacher', [(pointpillars, second), (second, pointpillars)])
def test_sparse_voxels(student, teacher):
    model = build(bev_distiller(TERMS, student(), teacher()))
    for network in (model.student, model.teachers['teacher'].model):
        if hasattr(network.middle_encoder, 'sparse_shape'):
            assert input_channels(network)[0] == 4
    area = model.distiller.feature.alignment.area
    assert area == (*RANGE[:2], *RANGE[3:5])
    step(model)


@needs_cpu
@pytest.mark.skipif(importlib.util.find_spec('spconv') is None, reason='spconv is not installed')
@pytest.mark.parametrize('written_by', ('spconv 2', 'spconv 1'))
def test_weights_of_sparse_voxels(tmp_path, written_by):
    """mmcv and spconv 1 write kernels (D, H, W, in, out), spconv 2 (out, D, H, W, in)."""
    model = build_model(dict(model=second(), default_scope='mmdet3d'), 'teacher')
    state, file = model.state_dict(), str(tmp_path / 'second.pth')
    written = copy.copy(state)
    if written_by == 'spconv 1':
        written = {key: value.permute(1, 2, 3, 4, 0) if value.ndim == 5 else value
                   for key, value in state.items()}
    torch.save(dict(state_dict=written), file)
    teacher = build_model(dict(model=second(), default_scope='mmdet3d'), 'teacher')
    fit_weights(teacher, read_weights(file, 'teacher'), file, 'teacher')
    assert any(value.ndim == 5 for value in state.values())
    assert all(torch.equal(teacher.state_dict()[key], value) for key, value in state.items())


def test_nothing_is_changed_for_other_libraries(monkeypatch):
    called = []
    monkeypatch.setattr(mmdet3d_cpu, 'work_without_gpu', lambda: called.append(1))
    with DefaultScope.overwrite_default_scope('mmseg'):
        before_building(tiny_segmentor())
    assert not called
    before_building(pointpillars())
    before_building(dict(type='mmdet3d.VoxelNet'), 'mmdet3d')
    assert len(called) == 2


def test_nothing_is_changed_where_there_is_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(mmdet3d_cpu, 'replace_mmcv_ops', None)  # it would fail
    mmdet3d_cpu.work_without_gpu.__wrapped__()


@needs_cpu
def test_boxes_of_single_images_stay_on_the_cpu():
    """NuScenesMetric merges those of a frame's six cameras, for which it calls ``Tensor.cuda``."""
    before_building(fcos3d())
    box = NuScenesBox([1., 2., 3.], [4., 5., 6.], Quaternion(), label=2, score=.7,
                      velocity=(.5, 0., .25))
    boxes, scores, labels = nuscenes_metric.nusc_box_to_cam_box3d([box])
    assert boxes.tensor.device.type == 'cpu' and labels.tolist() == [2]
    torch.testing.assert_close(boxes.gravity_center, torch.tensor([[1., 2., 3.]]))
    assert scores.shape == (1, 11) and abs(float(scores[0, 2]) - .7) < 1e-6
    empty, _, _ = nuscenes_metric.nusc_box_to_cam_box3d([])
    assert len(empty) == 0
    with pytest.raises((AssertionError, RuntimeError)):  # elsewhere it is as it was
        torch.ones(1).cuda()
