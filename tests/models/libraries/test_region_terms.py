"""DIST, FGFI, DeFeat and PGD as terms of small detectors: one step, and awkward batches."""
import pytest
import torch

from mmkd.registry import MODELS
from tests.detectors import det_batch, det_distiller, small_detector

CONV = dict(type='mmkd.ConvConnector', kernel_size=3, init_std=1e-4)


def of_tower(branch, **loss):
    feature = f'bbox_head.{branch}_convs.0[:]'
    return dict(student_tap=dict(feature=feature), loss=loss,
                teacher_tap=dict(feature=feature, cls='cls', reg='reg'))


def term(tap, connector=None, **loss):
    return dict(tap=tap, loss=loss, **(dict(student_connector=connector) if connector else {}))


PGD = dict(cls=of_tower('cls', type='mmkd.PGDClsLoss'), reg=of_tower('reg', type='mmkd.PGDRegLoss'))
#: student, teacher, terms
METHODS = {
    'dist of maps': ('retinanet', 'retinanet', dict(
        scores=term('cls', type='mmkd.DISTLoss', use_sigmoid=True))),
    'dist of rois': ('faster', 'cascade', dict(scores=term('roi_cls', type='mmkd.DISTLoss'))),
    'fgfi of one map': ('retinanet', 'retinanet', dict(
        near=term('backbone.layer3', dict(CONV, act=True), type='mmkd.FGFILoss'))),
    'fgfi': ('faster', 'faster', dict(
        near=term('neck', CONV, type='mmkd.FGFILoss', form='fpn'))),
    'defeat': ('faster', 'mask', dict(
        neck=term('neck', CONV, type='mmkd.DeFeatLoss'),
        scores=term('roi_cls', type='mmkd.DeFeatRoILoss'))),
    **{f'pgd of {kind}': (kind, kind, PGD) for kind in ('atss', 'gfl', 'fcos', 'retinanet')}}


def build(method):
    torch.manual_seed(0)
    student, teacher, terms = METHODS[method]
    return MODELS.build(det_distiller(terms, student, teacher)).train(), terms


def step(distiller, batch):
    """The terms' losses by name, after a backward pass of all."""
    distiller.zero_grad()
    losses = distiller(**distiller.data_preprocessor(batch, True), mode='loss')
    found = {name: value for name, value in losses.items() if isinstance(value, torch.Tensor)}
    sum(value for name, value in found.items() if 'loss' in name).backward()
    return found


def with_boxes(batch, boxes):
    """The batch with other boxes, a list per image."""
    for sample, found in zip(batch['data_samples'], boxes, strict=True):
        instances = sample.gt_instances
        labels = instances.labels[:1].repeat(len(found))
        sample.gt_instances = type(instances)(
            bboxes=torch.tensor(found).reshape(-1, 4), labels=labels)
    return batch


@pytest.mark.parametrize('method', METHODS)
def test_one_step_teaches_and_awkward_batches_stay_finite(method):
    distiller, terms = build(method)
    large = [[[4., 4., 60., 60.], [10., 20., 50., 44.]], [[0., 0., 64., 64.]]]
    losses = step(distiller, with_boxes(det_batch(), large))
    for name in terms:
        own = [value for key, value in losses.items()
               if key == f'loss_{name}' or key.startswith(f'loss_{name}_')]
        assert own and all(value.isfinite() for value in own) and any(value > 0 for value in own)
    for boxes in ([[], []], [[], large[0]], [[[0., 0., .5, .5]], [[63., 63., 64., 64.]]]):
        losses = step(distiller, with_boxes(det_batch(), boxes))
        assert all(value.isfinite().all() for value in losses.values())
        assert all(p.grad is None or p.grad.isfinite().all() for p in distiller.parameters())
    step(distiller, with_boxes(det_batch(images=1), large[:1]))


@pytest.mark.parametrize('method', ['fgfi', 'defeat'])
def test_every_convolution_is_trained(method):
    distiller, _ = build(method)
    boxes = [[[0., 0., side, side]] for side in (20., 64.)]
    step(distiller, with_boxes(det_batch(), boxes))
    weights = {name: p for name, p in distiller.named_parameters() if 'connector' in name}
    assert len(weights) == 10 and all(p.grad is not None for p in weights.values())


@pytest.mark.parametrize('method', ['fgfi', 'pgd of atss'])
def test_a_first_batch_without_a_place_is_waited_out(method):
    """Boxes, but left of all that is seen."""
    distiller, _ = build(method)
    losses = step(distiller, with_boxes(det_batch(), [[[-900., 0., -800., 9.]]] * 2))
    assert all(value.isfinite().all() for value in losses.values())


def test_classes_of_another_teacher_are_refused_when_built():
    teacher = small_detector('atss')
    teacher.bbox_head.num_classes = 7
    with pytest.raises(ValueError, match='teacher tells 7 classes apart, the student 3'):
        MODELS.build(det_distiller(PGD, 'atss', teacher))
