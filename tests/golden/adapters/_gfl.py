"""What LD's and BCKD's cases have in common: the official heads of both are one class."""
import torch
from mmdet.registry import MODELS

from tests.golden.detection import boxes, data_samples, head_view, per_level, pyramid

KL = 'KnowledgeDistillationKLDivLoss'
DEFAULTS = dict(num_classes=None, reg_max=16, strides=None, octave_base_scale=8, topk=9,
                loss_ld=dict(type=KL, loss_weight=0), loss_ld_vlr=dict(type=KL, loss_weight=0),
                loss_kd=None, loss_im=dict(type='IMLoss', loss_weight=0), imitation_method=None)


def gfl_head(args):
    """mmdet's GFL head, for its anchors and labels."""
    return MODELS.build(dict(
        type='mmdet.GFLHead', num_classes=args['num_classes'], in_channels=1, feat_channels=1,
        norm_cfg=None, reg_max=args['reg_max'], stacked_convs=0,
        anchor_generator=dict(type='AnchorGenerator', ratios=[1.], scales_per_octave=1,
                              octave_base_scale=args['octave_base_scale'],
                              strides=args['strides']),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='GIoULoss'),
        train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=args['topk']), allowed_border=-1,
                       pos_weight=-1)))


def inputs(case, head):
    """Both sides, the head bound to the batch, and the boxes."""
    sides = [{name: pyramid(case, f'{side}_{name}') for name in ('cls', 'reg')
              if f'{side}_{name}_0' in case.inputs} for side in ('stu', 'tea')]
    view = head_view(head).bind(data_samples(case, len(sides[0]['reg'][0])))
    return *sides, view, boxes(case)[0]


def assignment_outputs(head, sides):
    """The labels as they are recorded on the way."""
    target = head.assign([level.shape[-2:] for level in sides['cls']])
    return (per_level('labels', target.labels) | per_level('label_weights', target.label_weights)
            | {'num_total_pos': target.normaliser.to(torch.int64)})


def skip_other_parts(case):
    """What is compared are the distillation losses: not the detector's own, nor the region of the
    imitation of features, whose maps are not recorded."""
    case.skip(r'^out__loss_(cls|bbox|dfl)_\d+$|^mid__im_region_')
