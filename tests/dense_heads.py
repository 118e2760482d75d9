"""Tiny one-stage heads of mmdet, feature pyramids and boxes for them, that the tests share."""
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

STRIDES = [8, 16, 32]
SIGMOID = dict(use_sigmoid=True, loss_weight=1.)
FOCAL = dict(SIGMOID, type='FocalLoss', gamma=2., alpha=0.25)
GROUPS = dict(type='GN', num_groups=2, requires_grad=True)
SQUARES = dict(type='AnchorGenerator', ratios=[1.], octave_base_scale=8, scales_per_octave=1,
               strides=STRIDES)
ATSS = dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1,
            debug=False)
MAX_IOU = dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0,
                  ignore_iof_thr=-1), allowed_border=-1, pos_weight=-1, debug=False)
CENTERNESS = dict(SIGMOID, type='CrossEntropyLoss')
GIOU = dict(type='GIoULoss', loss_weight=2.)
WIDTH = dict(in_channels=8, feat_channels=8)
TOWERS = dict(WIDTH, stacked_convs=3)

HEADS = dict(
    RetinaHead=dict(
        TOWERS, train_cfg=dict(MAX_IOU, sampler=dict(type='PseudoSampler')), loss_cls=FOCAL,
        loss_bbox=dict(type='L1Loss'), anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1,
            ratios=[0.5, 1., 2.], strides=STRIDES)),
    ATSSHead=dict(TOWERS, train_cfg=ATSS, loss_cls=FOCAL, loss_bbox=GIOU, norm_cfg=GROUPS,
                  loss_centerness=CENTERNESS, anchor_generator=SQUARES, bbox_coder=dict(
                      type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])),
    GFLHead=dict(TOWERS, train_cfg=ATSS, loss_bbox=GIOU, norm_cfg=GROUPS, reg_max=7,
                 anchor_generator=SQUARES,
                 loss_cls=dict(SIGMOID, type='QualityFocalLoss', beta=2.)),
    FCOSHead=dict(TOWERS, strides=STRIDES, norm_cfg=GROUPS, loss_cls=FOCAL,
                  regress_ranges=((-1, 32), (32, 64), (64, 1e8))),
    RPNHead=dict(
        WIDTH, num_classes=1, loss_cls=CENTERNESS, loss_bbox=dict(type='L1Loss'),
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1., 2.],
                              strides=STRIDES),
        train_cfg=dict(MAX_IOU, sampler=dict(type='RandomSampler', num=16, pos_fraction=0.5,
                                             neg_pos_ub=-1, add_gt_as_proposals=False))))
TOWERED = [name for name in HEADS if name != 'RPNHead']
#: one that boxes of 20 to 60 pixels give positives on several levels
BOXES = ([[4., 6., 30., 40.], [20., 8., 60., 58.]], [[10., 30., 26., 52.]])


def head_config(name, num_classes=5, **others):
    family = dict(LDHead='GFLHead', PAAHead='ATSSHead').get(name, name)
    return dict(dict(num_classes=num_classes, type=f'mmdet.{name}'), **HEADS[family], **others)


def build_head(name, num_classes=5, seed=0, **others):
    """A head with random weights, wide enough that predictions differ from one another."""
    torch.manual_seed(seed)
    head = MODELS.build(head_config(name, num_classes, **others))
    for parameter in head.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.15)
    for scale in getattr(head, 'scales', []):
        nn.init.uniform_(scale.scale, 0.5, 1.5)
    return head


class Detector(nn.Module):
    """What a detector is to ``dense_head``: an owner of a head."""

    def __init__(self, **heads):
        super().__init__()
        for name, head in heads.items():
            self.add_module(name, head)


def pyramid(channels=8, images=2, size=64, seed=0, strides=STRIDES):
    """Random maps (images, channels, size / stride, size / stride), finest first."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(images, channels, size // stride, size // stride, generator=generator)
            for stride in strides]


def sizes_of(levels):
    return [tuple(level.shape[-2:]) for level in levels]


def samples(boxes=BOXES, labels=None, size=(64, 64), padded=None):
    """A batch's data samples; ``labels`` count up within an image by default."""
    batch = []
    for i, of_image in enumerate(boxes):
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size,
                                             pad_shape=padded or size,
                                             batch_input_shape=padded or size))
        tensor = torch.tensor(of_image, dtype=torch.float32).reshape(-1, 4)
        of_labels = range(len(tensor)) if labels is None else labels[i]
        sample.gt_instances = InstanceData(
            bboxes=tensor, labels=torch.tensor(list(of_labels), dtype=torch.int64))
        batch.append(sample)
    return batch
