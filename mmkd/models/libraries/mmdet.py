"""mmdetection: single-stage, two-stage and query-based detectors, instance segmentation."""
import numpy as np
import torch
from mmdet.models.detectors import SingleStageDetector
from mmdet.models.detectors.base import BaseDetector
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData
from torch import nn

from ..extras import OF_ANY_BATCH
from .mmdet_heads import dense_head
from .mmdet_names import MEANINGS, tap_names  # noqa: F401 - the library's, too

#: image sizes (H, W) to try in the dry run: levels of stride 128 must differ from those of 64
SIZES = ((256, 256), (320, 320), (512, 512), (640, 640))
SAME_IN_TRAINING = True
#: a teacher's RoIs are the student's
SHARED = dict(roi='rois', roi_cls='rois', roi_reg='rois', mask='mask_rois')


def owns(model):
    return isinstance(model, BaseDetector)


def called(model):
    """What a user recognises the model by: its class and its backbone."""
    backbone = getattr(model, 'backbone', None)
    return type(model).__name__ + (f' on {type(backbone).__name__}' if backbone is not None else '')


def num_classes(model):
    """Of the head that names classes; None where no head says it."""
    heads = [getattr(model, name, None) for name in
             ('roi_head', 'bbox_head', 'panoptic_head', 'mask_head', 'rpn_head')]
    for head in heads:
        for part in (getattr(head, 'bbox_head', None), head):
            part = part[0] if isinstance(part, nn.ModuleList) and len(part) else part
            if isinstance(getattr(part, 'num_classes', None), int):
                return part.num_classes
    return None


def facts(model):
    return dict(num_classes=num_classes(model))


def input_channels(model):
    """Numbers of image channels to try, the likeliest first: what is normalised, 3, and last
    what the first convolution takes, which may see slices of the image (YOLOX)."""
    stem = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    mean = getattr(model.data_preprocessor, 'mean', None)
    numbers = [None if mean is None else len(mean), 3, stem]
    return list(dict.fromkeys(n for n in numbers if n is not None))


def input_sizes(model):
    """Image sizes (H, W) that a part of the model says it is made for."""
    sizes = [getattr(module, 'img_size', None) for module in model.modules()]
    sizes = [(size, size) if isinstance(size, int) else size for size in sizes]
    return list(dict.fromkeys(tuple(size) for size in sizes if isinstance(size, (list, tuple))
                              and len(size) == 2 and all(isinstance(n, int) for n in size)))


def make_batch(model, size, channels=None):
    """Two images (2, 3, H, W) with three random boxes each, masks where it learns masks, and what
    else its data preprocessor or data set gives it."""
    height, width = size
    if hasattr(model, 'semi_train_cfg'):
        raise ValueError(f'{type(model).__name__} trains on several batches at once, with labels '
                         'and without; distil the detector that it is made of')
    inputs = torch.randn(2, channels or input_channels(model)[0], *size)
    samples = bare_samples(inputs)
    classes = num_classes(model) or 1
    semantic = [module.num_classes for name, module in model.named_modules()
                if name.endswith('semantic_head') and hasattr(module, 'num_classes')]
    for sample in samples:
        corners = torch.rand(3, 2) * 0.5
        boxes = torch.cat([corners, corners + 0.15 + torch.rand(3, 2) * 0.35], 1)
        boxes *= torch.tensor([width, height, width, height])
        masks = np.zeros((3, height, width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=torch.randint(0, max(classes, 1), (3,)))
        if _learns_masks(model):
            sample.gt_instances.masks = BitmapMasks(masks, height, width)
        if hasattr(model.data_preprocessor, 'pairwise_size'):  # BoxInst's: similar neighbours
            near, stride = model.data_preprocessor.pairwise_size ** 2 - 1, \
                model.data_preprocessor.mask_stride
            sample.gt_instances.pairwise_masks = torch.ones(
                3, near, height // stride, width // stride)
        if not getattr(model, 'with_rpn', True):  # Fast R-CNN is given its proposals
            corners = torch.rand(20, 2) * 0.9 * torch.tensor([width, height])
            proposals = torch.cat([boxes, torch.cat([corners, corners + 8], 1)])
            sample.proposals = InstanceData(bboxes=proposals, scores=torch.rand(23))
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0).long())
        stuff = torch.randint(0, max(min([classes, *semantic]), 1), (1, height, width))
        sample.gt_sem_seg = PixelData(sem_seg=stuff)
    return inputs, samples


def settle(model):
    """Give Sparse R-CNN's first proposals, which are weights, a size; a random start does not."""
    proposals = getattr(model, 'rpn_head', None)
    if hasattr(proposals, 'init_proposal_bboxes'):
        proposals.init_weights()


def _learns_masks(model):
    return model.with_mask or hasattr(model, 'panoptic_head') or any(
        'mask' in name for name, _ in getattr(model, 'bbox_head', model).named_children())


def forward(model, inputs, data_samples, paths=(), shared=None):
    """Run the detector as in inference; with ``shared`` RoIs its RoI head on these. Of what a
    single-stage head gives, no boxes are made."""
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


def _fresh(sample):
    """The sample for another forward: what is put into this one must not be in that, and
    proposals, which a loss takes out of it, are there."""
    sample = sample.new()
    given = sample.get('proposals')
    if given is not None and 'bboxes' not in given:
        sample.proposals = InstanceData(bboxes=given.priors)
    return sample


def bare_samples(images):
    """Samples of a batch (N, C, H, W), or of a list of images, that know nothing but the size."""
    sizes = [tuple(image.shape[-2:]) for image in images]
    frame = tuple(max(side) for side in zip(*sizes, strict=True))
    return [DetDataSample(metainfo=dict(
        img_id=i, img_shape=size, ori_shape=size, pad_shape=frame, batch_input_shape=frame,
        scale_factor=(1., 1.), flip=False, flip_direction=None)) for i, size in enumerate(sizes)]


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
    return [boxes.to(batch.inputs.device).reshape(-1, 4) for boxes in found]


def _box_labels(batch):
    return [labels.to(batch.inputs.device) for labels in _instances(batch, 'labels')]


def _masks(batch):
    """Of each image (n, H, W) bool, in the padded batch."""
    return [masks.to_tensor(torch.bool, batch.inputs.device)
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
    return not any(len(boxes) for boxes in extras('boxes'))
