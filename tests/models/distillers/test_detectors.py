"""Distillers of detectors: the student as alone, RoIs that both networks share, awkward batches."""
import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import autocast

from tests.detectors import det_batch, det_distiller, small_detector
from tests.helpers import build

PKD = dict(feature=dict(tap='neck', loss=dict(type='mmkd.PKDLoss'), levels='common'))
ROI = dict(roi=dict(tap='roi', loss=dict(type='mmkd.FitNetLoss')),
           scores=dict(tap='roi_cls', loss=dict(type='mmkd.DISTLoss', use_sigmoid=False)))


@pytest.fixture(autouse=True)
def _scope():
    DefaultScope.get_instance('detectors', scope_name='mmdet')


def losses_of(model, batch=None, mode=True):
    model.train(mode)
    data = model.data_preprocessor(batch or det_batch(), True)
    return model(**data, mode='loss')


@pytest.mark.parametrize('kind', ['retinanet', 'faster', 'fcos'])
def test_other_modes_are_the_students(kind):
    model = build(det_distiller(PKD, kind, kind)).eval()
    alone = build(small_detector(kind), seed=3)
    state = model.state_dict()
    assert {k for k in state if not k.startswith('distiller.')} == set(alone.state_dict())
    alone.load_state_dict({k: v for k, v in state.items() if not k.startswith('distiller.')})
    alone.eval()
    with torch.no_grad():
        ours, theirs = model.test_step(det_batch()), alone.test_step(det_batch())
    for a, b in zip(ours, theirs, strict=True):
        assert len(a.pred_instances) == len(b.pred_instances)
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(a.pred_instances[key], b.pred_instances[key])


def test_a_vanishing_term_trains_the_student_as_alone():
    """The student's own losses, and the draws of its sampler, are those of a run without."""
    terms = copy.deepcopy(PKD)
    terms['feature']['weight'] = 1e-37
    model, alone = build(det_distiller(terms, 'faster', 'faster')), build(small_detector('faster'))
    torch.manual_seed(4)
    ours = losses_of(model)
    torch.manual_seed(4)
    theirs = losses_of(alone)
    for key, value in theirs.items():
        assert torch.equal(torch.stack([*value]) if isinstance(value, list) else value,
                           torch.stack([*ours[key]]) if isinstance(value, list) else ours[key])


@pytest.mark.parametrize('student, teacher', [('faster', 'faster'), ('faster', 'mask'),
                                              ('mask', 'cascade'), ('cascade', 'faster')])
def test_the_teacher_looks_at_the_students_rois(student, teacher):
    model = build(det_distiller(ROI, student, teacher))
    seen = {}
    for name in model.distiller:
        model.distiller[name].register_forward_hook(
            lambda _, args, __, name=name: seen.__setitem__(name, args[:2]))
    batch = det_batch(masks=True)
    torch.manual_seed(1)
    losses = losses_of(model, copy.deepcopy(batch))
    assert losses['loss_roi'] > 0 and losses['loss_scores'] > 0
    rois = {}

    def remember(module, args):
        rois['given'] = args[1]

    # The teacher's features of the RoIs, computed by hand from what the student sampled.
    network = model.teachers['teacher'].model
    extractor = model.student.roi_head.bbox_roi_extractor
    extractor = extractor[0] if isinstance(extractor, torch.nn.ModuleList) else extractor
    handle = extractor.register_forward_pre_hook(remember)
    torch.manual_seed(1)
    losses_of(model, copy.deepcopy(batch))
    handle.remove()
    data = model.data_preprocessor(batch, True)
    with torch.no_grad():
        features = network.extract_feat(data['inputs'])
        own = network.roi_head.bbox_roi_extractor
        own = own[0] if isinstance(own, torch.nn.ModuleList) else own
        expected = own(features[:own.num_inputs], rois['given'])
    assert torch.equal(seen['roi'][1], expected)


def test_a_teacher_without_rois():
    with pytest.raises(ValueError, match="this RetinaNet on ResNet has no 'roi'"):
        build(det_distiller(ROI, 'faster', 'retinanet'))
    with pytest.raises(ValueError, match="student tap 'roi'"):
        build(det_distiller(ROI, 'retinanet', 'faster'))


@pytest.mark.parametrize('kind', ['retinanet', 'faster'])
@pytest.mark.parametrize('images, boxes', [(1, 2), (2, 0), (1, 0)])
def test_awkward_batches(kind, images, boxes):
    terms = dict(PKD, **(ROI if kind == 'faster' else {}))
    model = build(det_distiller(terms, kind, kind))
    losses = losses_of(model, det_batch(images, boxes=boxes))
    total, log = model.parse_losses(losses)
    total.backward()
    assert all(torch.isfinite(value).all() for value in log.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_half_precision():
    model = build(det_distiller(PKD))
    with autocast(enabled=True, dtype=torch.bfloat16, device_type='cpu'):
        loss = losses_of(model)['loss_feature']
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    torch.testing.assert_close(loss, losses_of(build(det_distiller(PKD)))['loss_feature'],
                               rtol=0.05, atol=0.01)


def test_shared_rois_that_fire_another_number_of_times_are_named():
    model = build(det_distiller(ROI, 'faster', 'faster'))
    source, = {source for tap in model._shared.values() for source in tap.sources}
    model._counts[source] += 1
    with pytest.raises(RuntimeError, match=f"what the student gives its teachers: '{source}' of "
                                           'the student fired 1 times'):
        losses_of(model)


# ---- where the student starts -----------------------------------------------------------
def test_init_student():
    model = build(det_distiller(PKD, init_student=True))
    ours, theirs = model.state_dict(), model.teachers['teacher'].model.state_dict()
    alone = build(small_detector('retinanet')).state_dict()
    for key in alone:
        same_as = alone if key.startswith('backbone.') else theirs
        assert torch.equal(ours[key], same_as[key]), key


def test_init_student_of_another_width_or_name():
    with pytest.raises(ValueError, match='init_student: .* have another shape in teacher'):
        build(det_distiller(dict(feature=dict(
            tap='neck', student_connector=dict(type='mmkd.ConvConnector'),
            loss=dict(type='mmkd.FitNetLoss'))), 'retinanet', small_detector('retinanet', 8),
            init_student=True))
    with pytest.raises(ValueError, match=r"init_student='x': expected .*'teacher'"):
        build(det_distiller(PKD, init_student='x'))


# ---- numbers that vary ----------------------------------------------------------------------
class Often(torch.nn.Module):
    """Runs its convolution as often as it is told."""

    def __init__(self, module):
        super().__init__()
        self.module, self.times = module, 2

    def forward(self, x):
        for _ in range(self.times):
            y = self.module(x)
        return y


@pytest.mark.parametrize('varying', [False, True])
def test_calls_that_vary_are_declared(varying):
    terms = dict(t=dict(tap='neck.fpn_convs.0.module[:]', loss=dict(type=First), varying=varying))
    student = build(small_detector('retinanet'))
    teacher = small_detector('retinanet')
    student.neck.fpn_convs[0] = Often(student.neck.fpn_convs[0])
    terms['t'].update(teacher_tap='neck.fpn_convs.0[:]')
    model = build(det_distiller(terms, student, teacher)) if varying else None
    if not varying:
        with pytest.raises(ValueError, match='have no partner'):
            build(det_distiller(terms, student, teacher))
        return
    for times in (2, 1, 4):
        model.student.neck.fpn_convs[0].times = times
        assert losses_of(model)['loss_t'] > 0


class First(torch.nn.Module):
    """Takes any number of maps."""
    pyramid = True

    def forward(self, student, teacher):
        return sum((x - teacher[0]).square().mean() for x in student)
