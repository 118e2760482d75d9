"""Detectors of mmdet that give the same boxes as in PyTorch, where mmdeploy's own graphs do not.

mmdeploy's graphs differ from mmdet by design: they keep the best anchors instead of the best pairs
of anchor and class, suppress each class apart without mmdet's offsets, threshold ATSS's and FCOS's
scores after the centerness, keep one class for each RoI of a Faster R-CNN, suppress proposals of
different levels, and clip boxes to the padded image. Here all that is as in mmdet.

For ONNX Runtime and OpenVINO; other backends have operators of their own for it, which mmdeploy's
rewriters use. A graph of dynamic shape takes images as they are after resizing, and pads them
itself, so that it knows where the image ends.
"""
import torch
from mmdeploy.codebase.mmdet.deploy import object_detection_model
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.mmcv.ops.nms import ONNXNMSop
from mmdeploy.utils import get_backend, is_dynamic_shape
from mmdet.models.dense_heads import GFLHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor

BACKENDS = ('onnxruntime', 'openvino')


def rewrites(*names):
    """Register a rewriter of several functions for :data:`BACKENDS`."""
    def register(function):
        for name in names:
            for backend in BACKENDS:
                FUNCTION_REWRITER.register_rewriter(name, backend=backend)(function)
        return function
    return register


def best_boxes(boxes, scores, groups, valid, nms, keep):
    """mmcv's ``batched_nms``, and the best of what it leaves.

    Args:
        boxes: (B, K, 4) x1, y1, x2, y2.
        scores: (B, K), positive where valid.
        groups: (B, K) or (K,) integers: boxes of different groups do not suppress each other.
        valid: (B, K) bool; what is not is left out.
        nms (dict): ``type='nms'``, ``iou_threshold`` and, if given, ``class_agnostic``.
        keep (int): How many.

    Returns:
        (B, min(keep, K), 5) x1, y1, x2, y2, score in descending order, zeros after the last one;
        and (B, min(keep, K)) their place in K.

    Raises:
        NotImplementedError: Another type of NMS.
    """
    if nms.get('type', 'nms') != 'nms':
        raise NotImplementedError(f"NMS of type {nms['type']!r} cannot be exported: set "
                                  "test_cfg's nms to dict(type='nms', iou_threshold=...)")
    shifted = boxes
    if not nms.get('class_agnostic', False):  # the arithmetic of mmcv
        largest = torch.where(valid[..., None], boxes, torch.zeros_like(boxes)).amax((1, 2))
        shifted = boxes + (groups.to(boxes) * (largest[:, None] + 1))[..., None]
    scores = torch.where(valid, scores, torch.full_like(scores, -1.))
    found = ONNXNMSop.apply(shifted, scores[:, None], keep, float(nms['iou_threshold']), 0.)
    chosen = torch.zeros_like(scores).index_put(
        (found[:, 0], found[:, 2]), torch.ones_like(found[:, 0]).to(scores))
    scores, index = (scores.clamp(min=0) * chosen).topk(keep, dim=1)
    boxes = boxes.gather(1, index[..., None].expand(-1, -1, 4)) * (scores > 0)[..., None]
    return torch.cat([boxes, scores[..., None]], -1), index


def valid_sizes(boxes, cfg):
    """(B, K) bool: what ``min_bbox_size`` leaves."""
    smallest = cfg.get('min_bbox_size', -1)
    if smallest < 0:
        return torch.ones_like(boxes[..., 0], dtype=torch.bool)
    return ((boxes[..., 2:] - boxes[..., :2]) > smallest).all(-1)


def rows(maps, width):
    """(B, A * width, H, W) as (B, H * W * A, width)."""
    return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, width)


def probabilities(head, maps):
    """(B, N, classes) of a level's classification."""
    scores = rows(maps, head.cls_out_channels)
    return scores.sigmoid() if head.use_sigmoid_cls else scores.softmax(-1)[..., :-1]


def priors_of(head, maps):
    """The levels' priors (N, 4) or (N, 2)."""
    sizes = [level.shape[-2:] for level in maps]
    priors = head.prior_generator.grid_priors(sizes, dtype=maps[0].dtype, device=maps[0].device)
    return [get_box_tensor(level) for level in priors]


def best_pairs(scores, count):
    """Scores (B, k) of the best pairs of prior and class of (B, N, C), their prior and class."""
    classes = int(scores.shape[-1])
    scores = scores.flatten(1)
    if count > 0:
        scores, place = scores.topk(count, dim=1)
    else:
        place = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
    return scores, torch.div(place, classes, rounding_mode='floor'), place % classes


def take(values, place):
    """Rows (B, k, D) of (B, N, D)."""
    return values.gather(1, place[..., None].expand(-1, -1, int(values.shape[-1])))


@rewrites('mmdet.models.dense_heads.anchor_head.AnchorHead.predict_by_feat',
          'mmdet.models.dense_heads.fcos_head.FCOSHead.predict_by_feat',
          'mmdet.models.dense_heads.gfl_head.GFLHead.predict_by_feat')
def dense_head__predict_by_feat(self, cls_scores, bbox_preds, score_factors=None,
                                batch_img_metas=None, cfg=None, rescale=False, with_nms=True,
                                **kwargs):
    """(dets (B, k, 5), labels (B, k)) as mmdet's ``BaseDenseHead`` and ``GFLHead`` predict."""
    gfl = isinstance(self, GFLHead)
    usual = GFLHead if gfl else BaseDenseHead
    if type(self)._predict_by_feat_single is not usual._predict_by_feat_single:
        raise NotImplementedError(f'{type(self).__name__} predicts in a way of its own, of which '
                                  'no export is known')
    cfg = self.test_cfg if cfg is None else cfg
    found = []
    for level, (cls, reg, priors) in enumerate(
            zip(cls_scores, bbox_preds, priors_of(self, cls_scores), strict=True)):
        reg = rows(reg, int(reg.shape[1]) // self.num_base_priors)
        scores, place, labels = best_pairs(probabilities(self, cls), cfg.get('nms_pre', -1))
        valid = scores > cfg.get('score_thr', 0)
        if score_factors is not None:
            factors = rows(score_factors[level], 1).sigmoid()
            scores = scores * take(factors, place)[..., 0]
        reg, priors = take(reg, place), priors[place]
        if gfl:
            reg = self.integral(reg.flatten(0, 1)).reshape(reg.shape[0], -1, 4)
            reg = reg * self.prior_generator.strides[level][0]
            priors = (priors[..., :2] + priors[..., 2:]) / 2
        found.append((reg, priors, scores, labels, valid))
    reg, priors, scores, labels, valid = (torch.cat(part, 1) for part in zip(*found, strict=True))
    boxes = get_box_tensor(self.bbox_coder.decode(
        priors, reg, max_shape=batch_img_metas[0]['img_shape']))
    dets, index = best_boxes(boxes, scores, labels, valid & valid_sizes(boxes, cfg), cfg.nms,
                             cfg.max_per_img)
    return dets, labels.gather(1, index)


@rewrites('mmdet.models.dense_heads.RPNHead.predict_by_feat')
def rpn_head__predict_by_feat(self, cls_scores, bbox_preds, score_factors=None,
                              batch_img_metas=None, cfg=None, rescale=False, with_nms=True,
                              **kwargs):
    """(proposals (B, k, 5), labels (B, k)): NMS within each level, as mmdet; zeros for no more."""
    cfg = self.test_cfg if cfg is None else cfg
    found = []
    for level, (cls, reg, priors) in enumerate(
            zip(cls_scores, bbox_preds, priors_of(self, cls_scores), strict=True)):
        # ONNX Runtime's Sigmoid is 0 below -18: of small images such proposals are used, too
        scores = 1 / (1 + (-rows(cls, 1)).exp()) if self.use_sigmoid_cls else \
            probabilities(self, cls)[..., :1]
        scores, place, _ = best_pairs(scores, cfg.get('nms_pre', -1))
        found.append((take(rows(reg, 4), place), priors[place], scores,
                      torch.full_like(place, level)))
    reg, priors, scores, levels = (torch.cat(part, 1) for part in zip(*found, strict=True))
    boxes = get_box_tensor(self.bbox_coder.decode(
        priors, reg, max_shape=batch_img_metas[0]['img_shape']))
    dets, index = best_boxes(boxes, scores, levels, valid_sizes(boxes, cfg), cfg.nms,
                             cfg.max_per_img)
    return dets, torch.zeros_like(index)


@rewrites('mmdet.models.roi_heads.bbox_heads.bbox_head.BBoxHead.predict_by_feat')
def bbox_head__predict_by_feat(self, rois, cls_scores, bbox_preds, batch_img_metas,
                               rcnn_test_cfg=None, rescale=False):
    """(dets (B, k, 5), labels (B, k)) of RoIs (B, R, 5): a box for each class, as mmdet.

    RoIs without area are what :func:`rpn_head__predict_by_feat` fills up with; they have no boxes.
    """
    scores = self.loss_cls.get_activation(cls_scores) if self.custom_cls_channels else \
        cls_scores.softmax(-1)
    scores = scores[..., :self.num_classes]
    classes = int(scores.shape[-1])
    of_class = 1 if self.reg_class_agnostic else classes
    places = rois[..., 1:].unsqueeze(2).expand(-1, -1, of_class, -1).flatten(1, 2)
    reg = bbox_preds.reshape(bbox_preds.shape[0], -1, self.bbox_coder.encode_size)
    boxes = get_box_tensor(self.bbox_coder.decode(
        places, reg, max_shape=batch_img_metas[0]['img_shape']))
    if of_class != classes:
        boxes = boxes.unsqueeze(2).expand(-1, -1, classes, -1).flatten(1, 2)
    there = (rois[..., 3:] > rois[..., 1:3]).all(-1, keepdim=True)
    valid = (there & (scores > rcnn_test_cfg.score_thr)).flatten(1)
    scores = scores.flatten(1)
    labels = torch.arange(classes, device=rois.device).expand_as(cls_scores[..., :classes])
    labels = labels.flatten(1)
    dets, index = best_boxes(boxes, scores, labels, valid, rcnn_test_cfg.nms,
                             rcnn_test_cfg.max_per_img)
    return dets, labels.gather(1, index)


def whole_images(model, images, samples, deploy_cfg):
    """(images padded as the model needs them, data samples that know where the images end)."""
    samples = samples or [DetDataSample()]
    if is_dynamic_shape(deploy_cfg):
        size = torch._shape_as_tensor(images)[2:]
        divisor = getattr(model.data_preprocessor, 'pad_size_divisor', 1)
        value = getattr(model.data_preprocessor, 'pad_value', 0)
        for axis in (2, 3):
            shape = list(images.shape)
            shape[axis] = (divisor - images.shape[axis] % divisor) % divisor
            images = torch.cat([images, images.new_full(shape, float(value))], axis)
    else:  # the pipeline of a static export gives this size alone
        size = [int(length) for length in samples[0].get('img_shape', images.shape[2:])[:2]]
    for sample in samples:
        sample.set_field(name='img_shape', value=size, field_type='metainfo')
    return images, samples


@rewrites('mmdet.models.detectors.single_stage.SingleStageDetector.forward')
def single_stage__forward(self, batch_inputs, data_samples=None, mode='tensor', **kwargs):
    """Images (B, 3, H, W) -> what the head's ``predict_by_feat`` gives."""
    images, samples = whole_images(self, batch_inputs, data_samples,
                                   FUNCTION_REWRITER.get_context().cfg)
    return self.bbox_head.predict(self.extract_feat(images), samples, rescale=False)


@rewrites('mmdet.models.detectors.two_stage.TwoStageDetector.forward')
def two_stage__forward(self, batch_inputs, data_samples=None, mode='tensor', **kwargs):
    """Images (B, 3, H, W) -> dets, labels and, of a model with masks, masks."""
    images, samples = whole_images(self, batch_inputs, data_samples,
                                   FUNCTION_REWRITER.get_context().cfg)
    features = self.extract_feat(images)
    proposals = self.rpn_head.predict(features, samples, rescale=False)
    return self.roi_head.predict(features, proposals, samples, rescale=False)


@getattr(object_detection_model, '__BACKEND_MODEL').register_module('end2end', force=True)
class CroppingDetector(object_detection_model.End2EndModel):
    """mmdeploy's own, which gives graphs of dynamic shape each image without its padding."""

    def forward(self, inputs, data_samples, mode='predict', **kwargs):
        """As mmdeploy's: (B, 3, H, W) and data samples -> data samples."""
        if get_backend(self.deploy_cfg).value not in BACKENDS or \
                not is_dynamic_shape(self.deploy_cfg):
            return super().forward(inputs, data_samples, mode, **kwargs)
        for image, sample in zip(inputs, data_samples, strict=True):
            height, width = sample.img_shape[:2]
            super().forward(image[None, :, :height, :width], [sample], mode, **kwargs)
        return data_samples
