"""LD, BCKD and CrossKD as terms of whole detectors."""
import copy
import pickle

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import autocast

from mmkd.models.libraries.mmdet_heads import dense_head
from tests.detectors import det_batch, det_distiller, small_detector
from tests.helpers import build

PREDICTIONS = dict(cls='cls', reg='reg')
TERMS = dict(
    ld=dict(tap=PREDICTIONS, loss=dict(type='mmkd.LDLoss')),
    bckd=dict(tap=PREDICTIONS, loss=dict(type='mmkd.BCKDLoss')))


def crosskd(after=3, **teachers):
    tower = {branch: f'{branch}_tower.{after}' for branch in ('cls', 'reg')}
    return dict(
        student_tap=tower, loss=dict(type='mmkd.CrossKDLoss'),
        teacher_tap=dict(PREDICTIONS, **{f'{k}_tower': v for k, v in tower.items()}, **teachers),
        student_connector=dict(type='mmkd.CrossHeadConnector', after=after))


CASES = {
    'LD': ('gfl', TERMS['ld']), 'BCKD': ('gfl', TERMS['bckd']),
    'CrossKD, GFL': ('gfl', crosskd()), 'CrossKD, RetinaNet': ('retinanet', crosskd()),
    'CrossKD, FCOS': ('fcos', crosskd(after=2)),
    'CrossKD, ATSS': ('atss', crosskd(centerness='centerness'))}


@pytest.fixture(autouse=True)
def _scope():
    DefaultScope.get_instance('box terms', scope_name='mmdet')


def built(name, **others):
    kind, term = CASES[name]
    return build(det_distiller(dict(term=copy.deepcopy(term)), kind, kind, **others))


def losses_of(model, batch=None):
    model.train()
    data = model.data_preprocessor(batch or det_batch(), True)
    found = model(**data, mode='loss')
    return {key: value for key, value in found.items() if 'loss_term' in key}, found


@pytest.mark.parametrize('name', CASES)
def test_a_step(name):
    model = built(name)
    ours, everything = losses_of(model)
    assert ours and all(value.isfinite() and value > 0 for value in ours.values())
    assert ('loss_term_centerness' in ours) == (name == 'CrossKD, ATSS')
    sum(ours.values()).backward()
    taught = {key for key, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(key.startswith('backbone.layer') for key in taught)
    predictors = {key for key in taught if key.startswith('bbox_head.') and 'convs' not in key}
    last = {key for key in taught if 'cls_convs.3' in key}
    assert (not predictors and not last) if 'Cross' in name else (predictors and last)
    assert not [key for key in model.state_dict() if key.startswith('distiller.')]


@pytest.mark.parametrize('name', CASES)
def test_images_without_boxes(name):
    model = built(name)
    ours, _ = losses_of(model, det_batch(boxes=0))  # the first step waits for boxes
    assert all(value.isfinite() for value in ours.values())
    sum(ours.values()).backward()
    ours, _ = losses_of(model)
    assert sum(ours.values()) > 0


@pytest.mark.parametrize('name', CASES)
def test_mixed_precision(name):
    model = built(name)
    plain = losses_of(model)[0]
    with autocast('cpu', dtype=torch.bfloat16):
        half = losses_of(model)[0]
    for key, value in half.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, plain[key], rtol=0.2, atol=0.05)


def test_the_normaliser_is_that_of_the_students_own_loss():
    model = built('BCKD')
    model.train()
    data = model.data_preprocessor(det_batch(), True)
    seen = []
    forward = model.bbox_head.loss_cls.forward
    model.bbox_head.loss_cls.forward = lambda *a, **k: seen.append(k['avg_factor']) or forward(
        *a, **k)
    model(**data, mode='loss')
    features = model.extract_feat(data['inputs'])
    target = dense_head(model).assign([x.shape[-2:] for x in features], data['data_samples'])
    assert set(seen) == {float(target.normaliser)}


def test_a_copy_teaches_by_the_same_teacher_and_has_no_weights_of_it():
    model = built('CrossKD, GFL')
    expected = losses_of(model)[0]
    twin = copy.deepcopy(model)
    torch.testing.assert_close(losses_of(twin)[0], expected)
    connector = twin.distiller.term.student_connector
    assert connector.teacher_head is model.distiller.term.student_connector.teacher_head
    assert len(pickle.dumps(connector)) < 2000


def test_heads_that_do_not_suit_are_refused_when_the_distiller_is_built():
    for student, term, message in [
            ('retinanet', TERMS['ld'], 'LDLoss compares distributions.*RetinaHead does not'),
            ('yolox', TERMS['bckd'], 'YOLOXHead.*RetinaHead, ATSSHead, GFLHead'),
            ('faster', crosskd(), 'cls_tower')]:
        with pytest.raises(ValueError, match=message):
            build(det_distiller(dict(term=copy.deepcopy(term)), student, student))
    wider = small_detector('gfl', width=24)
    with pytest.raises(ValueError, match='feat_channels'):
        build(det_distiller(dict(term=crosskd()), 'gfl', wider))
    other = small_detector('gfl')
    other.bbox_head.reg_max = 8
    with pytest.raises(ValueError, match='reg_max'):
        build(det_distiller(dict(term=copy.deepcopy(TERMS['ld'])), 'gfl', other))


@pytest.mark.parametrize('name', CASES)
def test_one_process_of_several_builds_without_asking_the_others(name, monkeypatch):
    """Networks are built on the CPU, where NCCL averages nothing."""
    def refuse(*args, **kwargs):
        raise RuntimeError('No backend type associated with device type cpu')
    monkeypatch.setattr(torch.distributed, 'all_reduce', refuse)
    torch.distributed.init_process_group('gloo', store=torch.distributed.HashStore(), rank=0,
                                         world_size=1)
    try:
        built(name)
    finally:
        torch.distributed.destroy_process_group()
