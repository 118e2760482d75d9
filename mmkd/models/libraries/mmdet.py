"""mmdetection: single-stage, two-stage and query-based detectors, instance segmentation."""
import contextlib

import torch
from mmdet.models.detectors import SingleStageDetector
from mmdet.models.detectors.base import BaseDetector
from mmengine.structures import InstanceData
from torch import nn

from ..extras import OF_ANY_BATCH
from .mmdet_batches import (  # noqa: F401 - the library's, too
    SIZES,
    bare_samples,
    input_channels,
    input_sizes,
    make_batch,
    num_classes,
    settle,
)
from .mmdet_heads import dense_head
from .mmdet_names import MEANINGS, tap_names  # noqa: F401 - the library's, too

SAME_IN_TRAINING = True
#: a teacher's RoIs are the student's
SHARED = dict(roi='rois', roi_cls='rois', roi_reg='rois', mask='mask_rois')


def owns(model):
    return isinstance(model, BaseDetector)


def called(model):
    """What a user recognises the model by: its class and its backbone."""
    backbone = getattr(model, 'backbone', None)
    return type(model).__name__ + (f' on {type(backbone).__name__}' if backbone is not None else '')


def facts(model):
    return dict(num_classes=num_classes(model))


def forward(model, inputs, data_samples, paths=(), shared=None):
    """Run the detector as in inference; with ``shared`` RoIs its RoI head on these. Of what a
    single-stage head gives, no boxes are made."""
    with _all_places(model):
        return _forward(model, inputs, data_samples, paths, shared)


def _forward(model, inputs, data_samples, paths, shared):
    rois = {name: value for name, value in (shared or {}).items()
            if name in ('rois', 'mask_rois') and value is not None}
    if all(getattr(type(model), name) is getattr(SingleStageDetector, name)
           for name in ('_forward', 'predict')):
        return model._forward(inputs, data_samples)
    if not rois or not any(path.startswith('roi_head') for path in paths):
        return model.predict(inputs, [_fresh(sample) for sample in data_samples], rescale=False)
    features = model.extract_feat(inputs)
    if any(path.startswith('rpn_head') for path in paths):
        model.rpn_head(features)
    head = model.roi_head
    stage = (0,) if isinstance(head.bbox_head, nn.ModuleList) else ()
    context = {name: getattr(head, part)(features)[1] for part, name in dict(
        semantic_head='semantic_feat', glbctx_head='glbctx_feat').items()
        if getattr(head, part, None) is not None}  # HTC, SCNet
    if 'rois' in rois:
        head._bbox_forward(*stage, features, rois['rois'], **context)
    if 'mask_rois' in rois:
        head._mask_forward(*stage, features, rois['mask_rois'], **context)


@contextlib.contextmanager
def _all_places(model):
    """Heads of guided anchors give their maps whole, as in training; in inference they take one
    image and leave out places."""
    heads = [head for head in model.children() if hasattr(head, 'loc_filter_thr')]
    before = [head.training for head in heads]
    try:
        for head in heads:
            head.training = True
        yield
    finally:
        for head, training in zip(heads, before, strict=True):
            head.training = training


def _fresh(sample):
    """The sample for another forward: what is put into this one must not be in that, and
    proposals, which a loss takes out of it, are there."""
    sample = sample.new()
    given = sample.get('proposals')
    if given is not None and 'bboxes' not in given:
        sample.proposals = InstanceData(bboxes=given.priors)
    return sample


def lacks_labels(data_samples):
    """Whether a sample of the batch has no annotation."""
    return not data_samples or any('gt_instances' not in sample for sample in data_samples)


# ---- what losses may ask for ------------------------------------------------------------
def _instances(batch, what):
    samples = batch.data_samples
    missing = [i for i, sample in enumerate(samples or ())
               if what not in sample.get('gt_instances', ())]
    if not samples or missing:
        raise ValueError(f'a loss asks for {what}, but '
                         + (f'samples {missing} have' if missing else 'the batch has')
                         + f' no gt_instances.{what}: does the train pipeline load annotations'
                         + (' (LoadAnnotations with with_mask=True)?' if what == 'masks' else '?'))
    return [sample.gt_instances[what] for sample in samples]


def _boxes(batch):
    """Of each image (n, 4), xyxy in pixels of the padded batch."""
    found = [getattr(boxes, 'tensor', boxes) for boxes in _instances(batch, 'bboxes')]
    return [boxes.to(batch.device).reshape(-1, 4) for boxes in found]


def _box_labels(batch):
    return [labels.to(batch.device) for labels in _instances(batch, 'labels')]


def _masks(batch):
    """Of each image (n, H, W) bool, in the padded batch."""
    return [masks.to_tensor(torch.bool, batch.device)
            for masks in _instances(batch, 'masks')]


def _image_sizes(batch):
    return [tuple(sample.metainfo['img_shape'][:2]) for sample in batch.data_samples]


def _padded_size(batch):
    return tuple(batch.inputs.shape[-2:])


def _student_head(batch):
    return dense_head(batch.student).bind(batch.data_samples)


def _teacher_head(batch):
    model, _, samples = batch.teacher
    return dense_head(model).bind(samples)


def _teacher_predictions(batch):
    """Of each image the teacher's detections, an InstanceData, in pixels of the padded batch."""
    model, inputs, samples = batch.teacher
    with torch.no_grad():
        found = model.predict(inputs, [_fresh(sample) for sample in samples], rescale=False)
    return [sample.pred_instances for sample in found]


def _roi_labels(batch):
    """Of each shared RoI (R,) the class, or the number of classes for background."""
    if 'rois' not in batch.shared:
        raise ValueError("a loss asks for roi_labels, but no tap of its term is on RoIs ('roi', "
                         "'roi_cls', 'roi_reg')")
    rois, head = batch.shared['rois'], batch.student.roi_head
    assigner = head.bbox_assigner
    assigner = assigner[0] if isinstance(assigner, (list, tuple)) else assigner
    labels = rois.new_full((len(rois),), num_classes(batch.student), dtype=torch.long)
    for i, (boxes, classes) in enumerate(zip(batch('boxes'), batch('box_labels'), strict=True)):
        mine = rois[:, 0] == i
        given = assigner.assign(InstanceData(priors=rois[mine, 1:]),
                                InstanceData(bboxes=boxes, labels=classes)).gt_inds
        found = labels[mine]
        found[given > 0] = classes[given[given > 0] - 1]
        labels[mine] = found
    return labels


EXTRAS = dict(
    boxes=_boxes, box_labels=_box_labels, masks=_masks, image_sizes=_image_sizes,
    padded_size=_padded_size, student_head=_student_head, teacher_head=_teacher_head,
    teacher_predictions=_teacher_predictions, roi_labels=_roi_labels, **OF_ANY_BATCH)


def nothing_to_teach(asked, extras, maps):
    """Does the loss ask for annotations, and no image of this batch has a box?"""
    wants = {'boxes', 'box_labels', 'masks', 'roi_labels', 'student_head', 'teacher_predictions',
             'data_samples'}
    if not wants & set(asked):
        return False
    try:
        return not any(len(boxes) for boxes in extras('boxes'))
    except ValueError:  # a batch without annotations, of which it asked for something else
        return False
