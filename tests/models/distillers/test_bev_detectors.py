"""Distillers of mmdet3d's detectors: LiDAR from LiDAR, cameras from LiDAR, LiDAR from cameras."""
import copy
import itertools

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import autocast
from torch import nn

from mmkd.registry import MODELS
from tests.detectors3d import RANGE, bev_batch, bev_distiller, centerpoint, pointpillars
from tests.helpers import build
from tests.models.bev.rigs import CLASSES, SIZE, tiny_fusion, tiny_model
from tests.models.bev.rigs import RANGE as WIDE

TASKS = (CLASSES[:4], CLASSES[4:])
FITNET, CONV = dict(type='mmkd.FitNetLoss'), dict(type='mmkd.ConvConnector')
FEATURE = dict(feature=dict(tap='bev', student_connector=CONV, loss=FITNET))
ALL = dict(
    feature=dict(tap='bev', student_connector=CONV, loss=FITNET),
    pyramid=dict(tap='bev_backbone', student_connector=CONV, loss=FITNET, levels='common'),
    heat=dict(tap='heatmap', loss=FITNET), boxes=dict(tap='reg', loss=FITNET))


@pytest.fixture(autouse=True)
def _scope():
    DefaultScope.get_instance('detectors3d', scope_name='mmdet3d')


@MODELS.register_module()
class SeesAll(nn.Module):
    """Keeps what it is given."""
    pyramid = True

    def forward(self, student, teacher, gt_heatmaps, bev_range, boxes_3d, teacher_head):
        self.seen = dict(student=student, teacher=teacher, heatmaps=gt_heatmaps, area=bev_range,
                         boxes=boxes_3d)
        return sum((s - t).square().mean() * 0.1 + (s * g).mean()
                   for s, t, g in zip(student, teacher, gt_heatmaps, strict=True))


def camera(**changes):
    return ConfigDict({**tiny_model(), **changes})


def lidar(area=WIDE, **others):
    """A teacher or student on the camera's grid, or on a part of it."""
    return centerpoint(area=area, tasks=TASKS, **others)


def fusion():
    return ConfigDict(tiny_fusion())


def wide_batch(**others):
    return bev_batch(**{**dict(area=WIDE, images=(6, *SIZE)), **others})


def losses_of(model, batch=None, mode=True):
    model.train(mode)
    data = model.data_preprocessor(batch if batch is not None else bev_batch(), True)
    return model(**data, mode='loss')


def step(model, batch):
    total, log = model.parse_losses(losses_of(model, batch))
    total.backward()
    assert all(torch.isfinite(torch.as_tensor(value)).all() for value in log.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    return log


PAIRS = dict(
    lidar_from_lidar=(lambda: centerpoint(), lambda: centerpoint(16), bev_batch, ALL),
    pillars_from_pillars=(
        lambda: pointpillars(), lambda: pointpillars(16),
        lambda **k: bev_batch(features=4, code=7, **k),
        dict(feature=ALL['feature'], scores=dict(tap='cls', loss=FITNET),
             boxes=dict(tap='box_reg', loss=FITNET))),
    camera_from_lidar=(camera, lidar, wide_batch, ALL),
    camera_from_fusion=(camera, fusion, wide_batch, ALL),
    lidar_from_fusion=(lidar, fusion, wide_batch, ALL),
    camera_from_camera=(camera, camera, lambda **k: wide_batch(points=None, **k),
                        {**ALL, 'depth': dict(tap='depth', loss=FITNET)}),
    lidar_from_camera=(lidar, camera, wide_batch, ALL))


@pytest.mark.parametrize('pair', PAIRS)
def test_every_pair_takes_a_step(pair):
    student, teacher, batch, terms = PAIRS[pair]
    model = build(bev_distiller(copy.deepcopy(terms), student(), teacher()))
    alone = build(student(), seed=3)
    state = model.state_dict()
    assert {key for key in state if not key.startswith('distiller.')} == set(alone.state_dict())
    log = step(model, batch())
    assert all(log[f'loss_{name}'] > 0 for name in terms)
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    # In every other mode it is the student.
    alone.load_state_dict({k: v for k, v in state.items() if not k.startswith('distiller.')})
    model.eval(), alone.eval()
    alone.load_state_dict({k: v for k, v in model.state_dict().items()
                           if not k.startswith('distiller.')})
    with torch.no_grad():
        ours, theirs = model.test_step(batch()), alone.test_step(batch())
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.pred_instances_3d.bboxes_3d.tensor,
                           b.pred_instances_3d.bboxes_3d.tensor)


@pytest.mark.parametrize('pair', PAIRS)
@pytest.mark.parametrize('samples, boxes', [(1, 2), (2, 0), (1, 0)])
def test_awkward_batches(pair, samples, boxes):
    student, teacher, batch, terms = PAIRS[pair]
    model = build(bev_distiller(copy.deepcopy(terms), student(), teacher()))
    step(model, batch(samples=samples, boxes=boxes))


def test_a_vanishing_term_trains_the_student_as_alone():
    terms = copy.deepcopy(ALL)
    for term in terms.values():
        term['weight'] = 1e-37
    model, alone = build(bev_distiller(terms, camera(), lidar())), build(camera())
    ours, theirs = losses_of(model, wide_batch()), losses_of(alone, wide_batch())
    for key, value in theirs.items():
        assert torch.equal(value, ours[key])


# ---- what goes with a training ----------------------------------------------------------------
def test_half_precision():
    """Of the student under autocast, and of the teacher alone."""
    cfg = bev_distiller(ALL, camera(), lidar())
    full = losses_of(build(copy.deepcopy(cfg)), wide_batch())
    with autocast(enabled=True, dtype=torch.bfloat16, device_type='cpu'):
        half = losses_of(build(copy.deepcopy(cfg)), wide_batch())
    cfg['teacher'].update(dtype='bf16')
    teacher = losses_of(build(cfg), wide_batch())
    for name, other in itertools.product(ALL, (half, teacher)):
        value = other[f'loss_{name}']
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, full[f'loss_{name}'], rtol=0.1, atol=0.02)


def test_a_copy_keeps_its_teacher_and_trains():
    model = build(bev_distiller(ALL, camera(), lidar()))
    twin = copy.deepcopy(model)
    assert twin.teachers['teacher'] is model.teachers['teacher']
    step(model, wide_batch())
    assert all(p.grad is None for p in twin.parameters())


def test_a_batch_of_one_is_not_squeezed_for_the_teacher():
    """mmdet3d takes the axis of samples away, in place, from the images of a batch of one."""
    student = lidar(img_backbone=dict(camera().img_backbone))
    student['data_preprocessor'] = dict(student.data_preprocessor, **{
        key: camera().data_preprocessor[key] for key in ('mean', 'std', 'bgr_to_rgb')})
    model = build(bev_distiller(FEATURE, student, camera()))
    assert not model.teachers['teacher'].own_inputs
    model.student.loss_imgs = lambda *_: {}
    data = model.data_preprocessor(wide_batch(samples=1), True)
    model.train()(**data, mode='loss')
    assert data['inputs']['imgs'].shape == (1, 6, 3, *SIZE)


def test_ranges_of_one_network_that_disagree_are_told():
    teacher = centerpoint()
    teacher.pts_bbox_head.bbox_coder.pc_range = [-9., -8.]
    with pytest.raises(ValueError, match="the head's bbox_coder says"):
        build(bev_distiller(FEATURE, centerpoint(), teacher))
    assert RANGE[0] == -8.


@pytest.mark.parametrize('bare', [False, True])
def test_points_alone_are_enough_to_learn_from_the_teacher(bare):
    """Also with voxels of the teacher's own, and with samples that have no boxes."""
    model = build(bev_distiller(FEATURE, centerpoint(), centerpoint(16, size=2.),
                                student_loss=False))
    batch = bev_batch()
    for sample in batch['data_samples']:
        del sample.gt_instances_3d
    if bare:
        del batch['data_samples']
    log = step(model, batch)
    assert set(log) == {'loss', 'loss_feature'} and log['loss_feature'] > 0


def test_a_batch_without_boxes_is_told():
    model, batch = build(bev_distiller(FEATURE, camera(), lidar())), wide_batch()
    del batch['data_samples'][1].gt_instances_3d
    with pytest.raises(RuntimeError, match="own losses need annotations.*student_loss=False"):
        losses_of(model, batch)
