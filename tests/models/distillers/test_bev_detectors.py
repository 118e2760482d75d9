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


# ---- each side makes its own inputs of one batch -----------------------------------------------
def inputs_of_teacher(model, batch):
    """What the teacher's forward was given."""
    network, seen = model.teachers['teacher'].model, {}
    given = type(network).extract_feat

    def remember(self, inputs, metas):
        if self is network:
            seen.update(inputs)
        return given(self, inputs, metas)

    type(network).extract_feat = remember
    try:
        losses_of(model, batch)
    finally:
        type(network).extract_feat = given
    return seen


def test_a_lidar_teacher_gets_points_and_a_camera_teacher_images():
    model = build(bev_distiller(FEATURE, camera(), lidar()))
    teacher = model.teachers['teacher']
    assert teacher.own_inputs and teacher.reads == ('points',)
    assert 'its own inputs' in str(teacher)
    seen = inputs_of_teacher(model, wide_batch())
    assert set(seen) == {'points', 'voxels'}
    expected = teacher.model.data_preprocessor(wide_batch(), True)['inputs']
    for key in ('voxels', 'coors', 'num_points'):
        assert torch.equal(seen['voxels'][key], expected['voxels'][key])
    model = build(bev_distiller(FEATURE, lidar(), camera()))
    seen = inputs_of_teacher(model, wide_batch())
    expected = build(camera()).data_preprocessor(wide_batch(), True)['inputs']
    assert set(seen) == {'imgs'} and torch.equal(seen['imgs'], expected['imgs'])
    assert expected['imgs'].mean().abs() < 1  # normalised


@pytest.mark.parametrize('change, own', [
    ({}, False), (dict(max_num_points=4), True), (dict(max_voxels=(100, 200)), True),
    (dict(voxel_size=[2., 2., 4.], area=None), True), (dict(mean=[1., 2., 3.]), False)])
def test_voxels_are_shared_only_if_they_are_the_same(change, own):
    teacher = centerpoint(16) if 'area' not in change else centerpoint(16, size=2.)
    changes = {key: value for key, value in change.items() if key not in ('area', 'mean')}
    teacher.data_preprocessor.voxel_layer.update(changes)
    if 'mean' in change:  # of images, which neither looks at
        teacher.data_preprocessor.update(mean=change['mean'], std=[1., 1., 1.])
    model = build(bev_distiller(dict(feature=dict(FEATURE['feature'])), centerpoint(), teacher))
    assert model.teachers['teacher'].own_inputs is own
    step(model, bev_batch())


def test_a_student_of_cameras_needs_no_points():
    model = build(bev_distiller(FEATURE, camera(), lidar())).eval()
    with torch.no_grad():
        found = model.test_step(wide_batch(points=None))
    assert len(found) == 2


@pytest.mark.parametrize('student, teacher, without, message', [
    (camera, lidar, dict(points=None), r'teacher \(CenterPoint\) reads points, and the batch has '
                                       r'none .*LoadPointsFromFile'),
    (lidar, camera, dict(images=None), r'teacher \(BEVDet\) reads imgs, and the batch has none .*'
                                       'LoadCameraImages'),
    (lidar, camera, dict(points=None), r'the student \(CenterPoint\) reads points')])
def test_a_modality_that_is_not_loaded_is_told(student, teacher, without, message):
    model = build(bev_distiller(FEATURE, student(), teacher()))
    with pytest.raises(ValueError, match=message):
        losses_of(model, wide_batch(**without))


def test_an_empty_sweep_of_the_teachers_is_told():
    """The teacher would give one sample less, which could be compared with both."""
    model = build(bev_distiller(FEATURE, camera(), lidar()))
    batch = wide_batch()
    batch['inputs']['points'][1] += 1e4
    with pytest.raises(ValueError, match=r'teacher \(CenterPoint\) reads points, and samples '
                                         r'\[1\]'):
        losses_of(model, batch)


def test_a_lidar_recipe_on_a_camera_teacher():
    terms = dict(t=dict(tap='voxels', loss=FITNET))
    with pytest.raises(ValueError) as error:
        build(bev_distiller(terms, lidar(), camera()))
    assert "this BEVDet on ResNet has no 'voxels'" in str(error.value)
    assert 'those that read points' in str(error.value)


# ---- alignment --------------------------------------------------------------------------------
def test_a_teacher_of_another_range_is_compared_where_both_have_something():
    """Heatmaps of the boxes are cut as the student's maps are."""
    area = (-24., -48., -5., 40., 32., 3.)
    terms = dict(heat=dict(tap='heatmap', loss=dict(type='mmkd.SeesAll')))
    model = build(bev_distiller(terms, camera(), lidar(area)))
    step(model, wide_batch(boxes=6))
    seen = model.distiller.heat.loss.seen
    assert seen['area'] == (-24., -48., 32., 32.)
    for maps in (seen['student'], seen['teacher'], seen['heatmaps']):
        assert [tuple(x.shape) for x in maps] == [(2, 4, 40, 28), (2, 6, 40, 28)]
    whole = model.student.pts_bbox_head.get_targets(
        [sample.gt_instances_3d for sample in wide_batch(boxes=6)['data_samples']])[0]
    for cut, one in zip(seen['heatmaps'], whole, strict=True):
        torch.testing.assert_close(cut, one[..., :40, 4:])


def test_a_box_is_at_the_same_cell_of_both_networks():
    """The peaks of the teacher's own targets, read as its maps are, are where the student's are."""
    area = (-24., -40., -5., 40., 56., 3.)
    terms = dict(heat=dict(tap='heatmap', loss=dict(type='mmkd.SeesAll')))
    model = build(bev_distiller(terms, camera(), lidar(area, size=0.5)))
    student, teacher = model.student.pts_bbox_head, model.teachers['teacher'].model.pts_bbox_head
    assert model.distiller.heat.alignment.area == (-24., -40., 32., 48.)
    truth = [sample.gt_instances_3d for sample in bev_batch(
        boxes=1, area=(-20., -38., -3., 30., 46., 1.), samples=4)['data_samples']]
    mine, theirs = (torch.cat(head.get_targets(truth)[0], 1) for head in (student, teacher))
    s, t = model.distiller.heat.alignment([mine], [theirs])
    for one, other in zip(s[0].flatten(2).amax(1), t[0].flatten(2).amax(1), strict=True):
        place, near = (divmod(int(x.argmax()), 28) for x in (one, other))
        assert max(abs(a - b) for a, b in zip(place, near, strict=True)) <= 1


def test_ranges_without_anything_in_common():
    with pytest.raises(ValueError, match="term 'feature': .*less than one cell of the student"):
        build(bev_distiller(FEATURE, camera(), lidar((40., -48., -5., 80., 48., 3.))))


def test_classes_in_another_order():
    terms = dict(heat=ALL['heat'], boxes=ALL['boxes'])
    names = ('truck', 'car', *CLASSES[2:4])
    model = build(bev_distiller(terms, camera(), lidar()))
    other = lidar()
    other.pts_bbox_head.tasks = [dict(num_class=6, class_names=list(CLASSES[4:])),
                                 dict(num_class=4, class_names=list(names))]
    swapped = build(bev_distiller(terms, camera(), other))
    # The same network, its tasks and the rows of its last layers put into the other order.
    mine, theirs = (m.teachers['teacher'].model for m in (model, swapped))
    state = mine.state_dict()
    swap = {'pts_bbox_head.task_heads.0.': 'pts_bbox_head.task_heads.1.',
            'pts_bbox_head.task_heads.1.': 'pts_bbox_head.task_heads.0.'}
    moved = {}
    for key, value in state.items():
        start = next((s for s in swap if key.startswith(s)), '')
        if start == 'pts_bbox_head.task_heads.0.' and 'heatmap.1.' in key:
            value = value[[1, 0, 2, 3]]
        moved[swap.get(start, start) + key[len(start):]] = value
    theirs.load_state_dict(moved)
    swapped.student.load_state_dict(model.student.state_dict())
    ours, others = losses_of(model, wide_batch()), losses_of(swapped, wide_batch())
    for name in terms:
        torch.testing.assert_close(ours[f'loss_{name}'], others[f'loss_{name}'])


@pytest.mark.parametrize('tasks, term, message', [
    ((CLASSES,), 'heat', None), ((CLASSES,), 'boxes', 'share.* by its classes'),
    ((CLASSES[:4], CLASSES[4:9]), 'heat', 'does not know the classes traffic_cone')])
def test_tasks_that_differ(tasks, term, message):
    cfg = bev_distiller({term: ALL[term]}, camera(), centerpoint(area=WIDE, tasks=tasks))
    if message is None:
        assert step(build(cfg), wide_batch())[f'loss_{term}'] > 0
        return
    with pytest.raises(ValueError, match=f"term '{term}': .*{message}"):
        build(cfg)


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
