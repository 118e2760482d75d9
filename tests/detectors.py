"""Detectors of mmdet's zoo, shrunk to what a test needs, and batches for them."""
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

from mmkd.utils.configs import read_config
from tests.helpers import runner_config

CLASSES, WIDTH = 3, 16
PREPROCESSOR = dict(
    type='mmdet.DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True, pad_mask=True, pad_size_divisor=32)
ZOO = dict(
    retinanet='retinanet/retinanet_r18_fpn_1x_coco.py', gfl='gfl/gfl_r50_fpn_1x_coco.py',
    atss='atss/atss_r50_fpn_1x_coco.py',
    fcos='fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    reppoints='reppoints/reppoints-moment_r50_fpn_1x_coco.py',
    faster='faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    cascade='cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    mask='mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', yolox='yolox/yolox_tiny_8xb8-300e_coco.py',
    rtmdet='rtmdet/rtmdet_tiny_8xb32-300e_coco.py', detr='detr/detr_r50_8xb2-150e_coco.py',
    deformable='deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    dino='dino/dino-4scale_r50_8xb2-12e_coco.py', solo='solo/solo_r50_fpn_1x_coco.py',
    solov2='solov2/solov2_r50_fpn_1x_coco.py',
    condinst='condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py')

_GN_HEADS = ('RepPointsHead', 'FCOSHead', 'CondInstBboxHead', 'SOLOHead', 'SOLOV2Head', 'GFLHead',
             'ATSSHead')


def small_detector(kind, width=WIDTH, **changes):
    """The model's config: a narrow ResNet-18, ``width`` channels in neck and head."""
    model = read_config('mmdet::' + ZOO[kind]).model
    model.update(_scope_='mmdet', type=f'mmdet.{model.type}')
    if kind not in ('yolox', 'rtmdet'):
        _narrow_resnet(model, width)
        model.data_preprocessor = PREPROCESSOR
    else:
        _narrow_csp(model)
    _few(model)
    model.update(changes)
    return model


def _narrow_resnet(model, width):
    model.backbone = dict(
        type='ResNet', depth=18, base_channels=8, stem_channels=8, num_stages=4, frozen_stages=1,
        out_indices=model.backbone.out_indices, norm_cfg=dict(type='BN'), style='pytorch')
    channels = [8, 16, 32, 64]
    model.neck.in_channels = [channels[i] for i in model.backbone.out_indices]
    wide = width if 'encoder' not in model else 256
    model.neck.out_channels = wide
    for key in ('bbox_head', 'rpn_head', 'mask_head'):
        head = model.get(key)
        if head is not None and wide == width:
            for name in ('in_channels', 'feat_channels', 'point_feat_channels'):
                if head.get(name, 0) > width:  # CondInst's mask head has 8
                    head[name] = width
    if 'mask_head' in model and 'mask_feature_head' in model.mask_head:
        feature = model.mask_head.mask_feature_head
        feature.update({key: width for key in ('in_channels', 'feat_channels')
                        if feature.get(key) == 256})
    roi = model.get('roi_head')
    if roi is not None:
        for part in ('bbox_roi_extractor', 'mask_roi_extractor'):
            if part in roi:
                roi[part].out_channels = width
        heads = roi.bbox_head if isinstance(roi.bbox_head, list) else [roi.bbox_head]
        for head in heads:
            head.update(in_channels=width, fc_out_channels=32)
        if 'mask_head' in roi:
            roi.mask_head.update(in_channels=width, conv_out_channels=width, num_convs=1)


def _narrow_csp(model):
    for part in (model.backbone, model.neck, model.bbox_head):
        part.pop('init_cfg', None)


def _few(value):
    """Fewer classes and no downloads, everywhere in a config."""
    if isinstance(value, dict):
        if 'num_classes' in value:
            value['num_classes'] = CLASSES
        if 'num_groups' in value:
            value['num_groups'] = 4
        if value.get('type') in _GN_HEADS:
            value['norm_cfg'] = dict(type='GN', num_groups=4)
        if 'init_cfg' in value and str(value['init_cfg'].get('type')) == 'Pretrained':
            value['init_cfg'] = None
        for item in value.values():
            _few(item)
    elif isinstance(value, list):
        for item in value:
            _few(item)


def det_batch(images=2, size=64, boxes=2, seed=0, masks=False):
    """A batch as a data loader gives it: uint8 images and samples with boxes."""
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8)
              for _ in range(images)]
    samples = []
    for i in range(images):
        corners = torch.rand(boxes, 2, generator=generator) * size * 0.5
        found = torch.cat([corners, corners + size * (0.2 + torch.rand(
            boxes, 2, generator=generator) * 0.3)], 1)
        sample = DetDataSample(metainfo=dict(
            img_id=i, img_shape=(size, size), ori_shape=(size, size), scale_factor=(1., 1.),
            flip=False))
        sample.gt_instances = InstanceData(
            bboxes=found, labels=torch.randint(0, CLASSES, (boxes,), generator=generator))
        sample.ignored_instances = InstanceData(bboxes=found[:0],
                                                labels=torch.zeros(0, dtype=torch.long))
        if masks:
            drawn = np.zeros((boxes, size, size), np.uint8)
            for mask, (x1, y1, x2, y2) in zip(drawn, found.int().tolist(), strict=True):
                mask[y1:y2, x1:x2] = 1
            sample.gt_instances.masks = BitmapMasks(drawn, size, size)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def det_distiller(terms, student='retinanet', teacher='retinanet', **others):
    """OfflineDistiller of two small detectors, or of model dicts."""
    student = small_detector(student) if isinstance(student, str) else student
    teacher = small_detector(teacher) if isinstance(teacher, str) else teacher
    return dict(type='mmkd.OfflineDistiller', student=student, distillations=terms,
                teacher=dict(config=dict(model=teacher, default_scope='mmdet'), allow_random=True),
                **others)


@DATASETS.register_module()
class TinyBoxes(Dataset):
    """Noise with boxes, made from their index; every third picture has none."""

    def __init__(self, length=8, size=64):
        self.length, self.size = length, size
        self.metainfo = dict(classes=tuple(f'class_{i}' for i in range(CLASSES)))

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        batch = det_batch(1, self.size, 0 if index % 3 == 2 else 2, seed=index)
        return {key: value[0] for key, value in batch.items()}


@METRICS.register_module()
class CountsBoxes(BaseMetric):
    """How many boxes were predicted."""

    def process(self, data_batch, data_samples):
        self.results += [len(sample['pred_instances']['bboxes']) for sample in data_samples]

    def compute_metrics(self, results):
        return dict(boxes=sum(results))


def det_runner_config(model, work_dir, iters=4, length=8, **others):
    """A Config that trains ``model`` on :class:`TinyBoxes` for a few iterations."""
    cfg = runner_config(model, work_dir, iters, length=length, **others)
    cfg.default_scope = 'mmdet'
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset = dict(type='TinyBoxes', length=loader.dataset.length)
    cfg.val_evaluator = cfg.test_evaluator = dict(type='CountsBoxes')
    return cfg
