"""Kinds of detectors that only the zoo has: other RPNs, proposals, context, queries as RoIs."""
import copy
import os

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, init_default_scope

from mmkd.models.dry_run import DryRun
from mmkd.models.libraries import mmdet
from mmkd.models.no_trace import no_trace
from tests.cli import ROOT

#: kind -> (config, the names that it is about, where they are)
KINDS = dict(
    fast=('fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py', dict(
        roi_cls='roi_head.bbox_head.fc_cls')),
    cascade_rpn=('cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco.py', dict(
        rpn_cls='rpn_head.stages.1.rpn_cls[:]', rpn_reg='rpn_head.stages.1.rpn_reg[:]')),
    fcos_rpn=('faster_rcnn/faster-rcnn_r50_fpn_fcos-rpn_1x_coco.py', dict(
        rpn_cls='rpn_head.conv_cls[:]')),
    context=('htc/htc_r50_fpn_1x_coco.py', dict(roi_cls='roi_head.bbox_head.0.fc_cls')),
    extracted_twice=('double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py', dict(
        rois='roi_head.bbox_roi_extractor:input2[0]', roi='roi_head.bbox_roi_extractor[0]')),
    guided_anchors=('guided_anchoring/ga-retinanet_r50-caffe_fpn_1x_coco.py', dict(
        cls='bbox_head.retina_cls[:]', reg='bbox_head.retina_reg[:]')),
    query_rois=('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', dict(
        query_cls='last_queries(roi_head.bbox_head.5.fc_cls)')),
    mask_queries=('mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', dict(
        query_cls='last_queries(panoptic_head.cls_embed[-1])')),
    slices=('yolox/yolox_tiny_8xb8-300e_coco.py', dict(neck='neck[:]')),
    asks_the_epoch=('tood/tood_r50_fpn_1x_coco.py', dict(cls='bbox_head.tood_cls[:]')),
    boxes_for_masks=('boxinst/boxinst_r50_fpn_ms-90k_coco.py', dict(mask=(
        'mask_head.mask_feature_head'))))


@pytest.fixture(scope='module')
def small():
    """config -> the zoo's model, as narrow as it gets."""
    init_default_scope('mmdet')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(os.path.join(ROOT, 'tools', 'dev'))
        from _zoo_models import model_of
        yield lambda config: ConfigDict(model_of(config, 'mmdet', ('narrow',)))


@pytest.mark.parametrize('kind', KINDS)
def test_the_names_are_there_in_training_and_inference(small, kind):
    config, names = KINDS[kind]
    model = MODELS.build(small(config))
    runs = [DryRun(model, mmdet, kind, list(names), training) for training in (True, False)]
    for run in runs:
        assert not run.errors
        assert {name: str(tap) for name, tap in run.taps.items()} == names
    for name in names:
        if not name.startswith('roi') and not isinstance(runs[0].examples[name], list):
            assert runs[0].examples[name].shape == runs[1].examples[name].shape


@pytest.mark.parametrize('kind', ('context', 'query_rois'))
def test_such_a_model_teaches_and_all_else_stays(small, kind):
    """With the RoIs and the context of the student: the zoo's own check, which asks for more."""
    from _zoo_check import check
    found = check(small(KINDS[kind][0]).to_dict(), 'mmdet')
    assert found.pop('size') and set(found.values()) == {''} and len(found) > 2, found


def test_proposals_that_a_loss_took_are_there_for_another_forward(small):
    model = MODELS.build(small(KINDS['fast'][0])).eval()
    inputs, samples = mmdet.make_batch(model, (128, 128))
    before = copy.deepcopy(samples)
    model.loss(inputs, samples)
    assert 'bboxes' not in samples[0].proposals  # mmdet renames them
    with torch.no_grad():
        after, expected = (mmdet.forward(model, inputs, batch) for batch in (samples, before))
    assert torch.equal(after[0].pred_instances.scores, expected[0].pred_instances.scores)


@pytest.mark.parametrize('known', (None, 7))
@pytest.mark.parametrize('key', ('iter', 'epoch'))
def test_a_trial_run_is_somewhere_in_training_and_leaves_no_trace(key, known):
    info = MessageHub.get_current_instance().runtime_info
    before = dict(info)
    info.pop(key, None)
    try:
        if known is not None:
            info[key] = known
        with no_trace(torch.nn.Linear(1, 1)):
            assert MessageHub.get_current_instance().get_info(key) == (known or 0)
        assert info.get(key) == known
    finally:
        info.clear()
        info.update(before)


def test_a_single_stage_teacher_makes_no_boxes(small, monkeypatch):
    """SSD's predict fails in mmdet 3.3; its scores are there before."""
    model = MODELS.build(small('retinanet/retinanet_r18_fpn_1x_coco.py')).eval()
    monkeypatch.setattr(type(model.bbox_head), 'predict_by_feat', None)
    run = DryRun(model, mmdet, 'teacher', ['cls'], False)
    assert len(run.examples['cls']) == 5


def test_a_semi_supervised_detector_is_refused_with_the_reason(small):
    model = MODELS.build(small(
        'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.01-coco.py'))
    with pytest.raises(ValueError, match='distil the detector that it is made of'):
        DryRun(model, mmdet, 'student', ['neck'], True)
