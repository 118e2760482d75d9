"""What semantic names mean for a detector of mmdet.

A name's taps are the same in training and inference: where a head's output differs between the
two (FCOS multiplies by the stride, RepPoints gives boxes, SOLO resizes), the convolution is
tapped, whose output does not. A convolution that all levels share fires once for each.
"""
import functools
from dataclasses import dataclass

import torch
from torch import nn

from ..taps import JoinedTap, Source, Tap, parse_tap
from ._tables import entry_of

_TOWER = 8  # names up to this number of convolutions in a tower

#: name -> (what it is, which models have it)
MEANINGS = dict(
    backbone=("the backbone's outputs that the neck reads, a pyramid", 'all with a backbone'),
    neck=("the neck's outputs, a pyramid", 'those with a neck'),
    neck_convs=("what the neck's last convolutions give, before their norm, a pyramid; without "
                'levels that pooling makes. Of a neck that is no FPN or alike, its outputs',
                'those with a neck'),
    cls=('the class scores of every level, a pyramid', 'those with a dense head'),
    reg=('the raw box regression of every level, a pyramid, before exp, ReLU and stride, after '
         "the level's scale", 'those with a dense head'),
    centerness=('the centerness of every level, a pyramid', 'FCOS, ATSS, DDOD and alike'),
    objectness=('the objectness of every level, a pyramid', 'YOLOX, YOLOF'),
    rpn_cls=("the RPN's objectness of every level, a pyramid", 'two-stage detectors'),
    rpn_reg=("the RPN's regression of every level, a pyramid", 'two-stage detectors'),
    rois=("the student's sampled RoIs (R, 5): image, x1, y1, x2, y2", 'two-stage detectors'),
    mask_rois=("the student's positive RoIs (P, 5), for masks", 'Mask R-CNN and alike'),
    roi=('the features of the RoIs (R, C, h, w)', 'two-stage detectors'),
    roi_cls=("the RoIs' class scores (R, K + 1)", 'two-stage detectors'),
    roi_reg=("the RoIs' box regression (R, 4 or 4K)", 'two-stage detectors'),
    mask=('mask logits of RoIs, or the features that masks are made of',
          'Mask R-CNN, SOLO, SOLOv2, CondInst, RTMDet-Ins, YOLACT, Mask2Former'),
    decoder=("each query's state after the last decoder layer, as a map (N, C, Q, 1)", 'DETRs'),
    query_cls=("each query's class scores, as a map (N, K, Q, 1)",
               'DETRs, Sparse R-CNN, QueryInst, MaskFormer, Mask2Former'),
    query_boxes=("each query's box (cx, cy, w, h in parts of the image), as a map (N, 4, Q, 1)",
                 'DETRs'),
    **{f'{branch}_tower.{i}': (
        f'the {what} tower after convolution {i} and its norm, before the activation, a pyramid',
        'those with towers of convolutions (RetinaNet, ATSS, GFL, FCOS and alike)')
       for branch, what in dict(cls='class', reg='box').items() for i in range(1, _TOWER + 1)})

#: head class -> its convolutions for (cls, reg, centerness, objectness); '*' stands for one module
#: for each level. Subclasses inherit. Where a head is missing, its first two outputs are taken.
_HEADS = dict(
    RetinaHead=dict(cls='retina_cls', reg='retina_reg'),
    ATSSHead=dict(cls='atss_cls', reg='scales.*', centerness='atss_centerness'),
    DDODHead=dict(cls='atss_cls', reg='scales.*', centerness='atss_iou'),
    GFLHead=dict(cls='gfl_cls', reg='scales.*'),
    FCOSHead=dict(cls='conv_cls', reg='scales.*', centerness='conv_centerness'),
    AnchorFreeHead=dict(cls='conv_cls', reg='conv_reg'),
    RepPointsHead=dict(cls='reppoints_cls_out', reg='reppoints_pts_refine_out'),
    RPNHead=dict(cls='rpn_cls', reg='rpn_reg'),
    GuidedAnchorHead=dict(cls='conv_cls', reg='conv_reg'),
    GARetinaHead=dict(cls='retina_cls', reg='retina_reg'),
    RetinaSepBNHead=dict(cls='retina_cls', reg='retina_reg'),
    SABLRetinaHead=dict(cls='retina_cls'),
    YOLACTHead=dict(cls='conv_cls', reg='conv_reg'),
    VFNetHead=dict(cls='vfnet_cls', reg='scales.*'),
    TOODHead=dict(cls='tood_cls', reg='tood_reg'),
    YOLOFHead=dict(cls='cls_score', reg='bbox_pred', objectness='object_pred'),
    YOLOXHead=dict(cls='multi_level_conv_cls.*', reg='multi_level_conv_reg.*',
                   objectness='multi_level_conv_obj.*'),
    RTMDetSepBNHead=dict(cls='rtm_cls.*', reg='rtm_reg.*'),
    RTMDetInsSepBNHead=dict(cls='rtm_cls.*', reg='rtm_reg.*'),
    RTMDetHead=dict(cls='rtm_cls', reg='rtm_reg'),
    SSDHead=dict(cls='cls_convs.*', reg='reg_convs.*'),
    YOLOV3Head=dict(cls='convs_pred.*'),
    SOLOHead=dict(cls='conv_cls', mask='conv_mask_list.*'),
    DecoupledSOLOHead=dict(cls='conv_cls'),
    SOLOV2Head=dict(cls='conv_cls', mask='mask_feature_head'),
    CondInstMaskHead=dict(mask='mask_feature_head'),
    YOLACTProtonet=dict(mask='protonet'),
    DETRHead={}, MaskFormerHead=dict(mask='pixel_decoder[0]'))
_INS = dict(RTMDetInsHead='mask_head', RTMDetInsSepBNHead='mask_head')


@dataclass(frozen=True)
class LastQueries:
    """The last decoder layer's value for each query, as a map of one column (N, C, Q, 1).

    ``count``: how many queries there are in an inference; denoising queries come before them.
    """
    count: int
    __name__ = 'last_queries'

    def __call__(self, given):
        value = given[0] if isinstance(given, (list, tuple)) else given
        if not isinstance(value, torch.Tensor) or value.ndim not in (2, 3, 4):
            raise ValueError('no states of queries')
        if value.ndim == 2:
            value = value.unflatten(0, (-1, self.count))
        value = value[-1] if value.ndim == 4 else value
        return value[:, -self.count:].transpose(1, 2).unsqueeze(-1)


def tap_names(model):
    """Semantic name -> taps to try, in order."""
    names = dict(backbone=[_backbone(model)])
    if isinstance(getattr(model, 'neck', None), nn.Module):
        names.update(neck=['neck[:]'], neck_convs=[_neck_convs(model.neck), 'neck[:]'])
    for path in ('bbox_head', 'mask_head', 'panoptic_head'):
        head = getattr(model, path, None)
        if isinstance(head, nn.Module):
            for name, taps in _dense(path, head).items():
                names.setdefault(name, taps)
    if isinstance(getattr(model, 'rpn_head', None), nn.Module):
        path, head = 'rpn_head', model.rpn_head
        if hasattr(head, 'stages'):  # a cascade ends in its scores
            path, head = f'rpn_head.stages.{len(head.stages) - 1}', head.stages[-1]
        names.update({f'rpn_{name}': taps for name, taps in _dense(path, head).items()
                      if name in ('cls', 'reg')})
    if isinstance(getattr(model, 'roi_head', None), nn.Module):
        names.update(_of_rois(model, model.roi_head))
    names.update(_of_queries(model))
    return {name: [tap if isinstance(tap, (Tap, JoinedTap)) else parse_tap(tap)
                   for tap in names[name] if tap is not None]
            for name in MEANINGS if names.get(name)}


def _backbone(model):
    start = getattr(getattr(model, 'neck', None), 'start_level', 0) or 0
    return Tap(Source('backbone'), levels=(start or None, None))


def _neck_convs(neck):
    """The convolutions that make the neck's levels, in order; None if it is another kind."""
    kind = {cls.__name__ for cls in type(neck).__mro__}
    if 'PAFPN' in kind:
        convs = ['fpn_convs.0', *(f'pafpn_convs.{i}' for i in range(len(neck.pafpn_convs)))]
    else:
        convs = next(([f'{name}.{i}' for i in range(len(getattr(neck, name)))]
                      for name in ('fpn_convs', 'out_convs') if hasattr(neck, name)), [])
    if not convs or not all(hasattr(neck.get_submodule(conv), 'conv') for conv in convs):
        return None
    return JoinedTap(tuple(parse_tap(f'neck.{conv}.conv') for conv in convs))


def _dense(path, head):
    """Names of a dense head: from the table, and its towers."""
    known, names = entry_of(_HEADS, head), {}
    if known is None:
        known = {}
        names.update(cls=[f'{path}[0][:]'], reg=[f'{path}[1][:]'])
    last = getattr(head, 'cls_embed', None)
    if last is not None and isinstance(getattr(head, 'num_queries', None), int):
        source = Source(f'{path}.cls_embed')
        names['query_cls'] = [Tap(source, index, LastQueries(head.num_queries))
                              for index in ((-1,), ())]  # a call for each layer, or one for all
    for name, conv in known.items():
        if conv.endswith('.*'):
            modules = getattr(head, conv[:-2], ())
            names[name] = [JoinedTap(tuple(parse_tap(f'{path}.{conv[:-1]}{i}')
                                           for i in range(len(modules))))] if len(modules) else []
        else:
            single = conv.endswith(']') or name == 'mask'
            names[name] = [f'{path}.{conv}' + ('' if single else '[:]')]
    inner = entry_of(_INS, head)
    if inner:
        names['mask'] = [f'{path}.{inner}']
    for branch in ('cls', 'reg'):
        convs = getattr(head, f'{branch}_convs', ())
        for i, conv in enumerate(convs, 1):
            if hasattr(conv, 'activate') and i <= _TOWER:
                names[f'{branch}_tower.{i}'] = [f'{path}.{branch}_convs.{i - 1}.activate:input[:]']
    return names


def _of_rois(model, head):
    """Names of a RoI head; of a cascade its first stage, whose RoIs are the RPN's."""
    def first(name):
        part = getattr(head, name, None)
        return f'roi_head.{name}.0' if isinstance(part, nn.ModuleList) else f'roi_head.{name}'

    extractor, box, mask = (first(name) for name in ('bbox_roi_extractor', 'bbox_head',
                                                     'mask_head'))
    if hasattr(head, 'proposal_feature_channel'):  # of queries, which are no RoIs of the image
        return dict(query_cls=[Tap(Source(f'roi_head.bbox_head.{len(head.bbox_head) - 1}.fc_cls'),
                                   derive=LastQueries(model.rpn_head.num_proposals))])
    # Double heads extract twice: for classes, and more of the image for boxes.
    return dict(rois=[f'{extractor}:input2', f'{extractor}:input2[0]'],
                roi=[extractor, f'{extractor}[0]'],
                roi_cls=[f'{box}.fc_cls', f'{box}.fc_cls.0'],  # CrowdDet has one for each instance
                roi_reg=[f'{box}.fc_reg', f'{box}.fc_reg.0'],
                mask_rois=[f"{first('mask_roi_extractor')}:input2"],
                mask=[f'{mask}.conv_logits'])


def _of_queries(model):
    count = getattr(model, 'num_queries', None)
    head = getattr(model, 'bbox_head', None)
    # DDQ trains more queries behind these, another number of them for every batch.
    if not isinstance(count, int) or head is None or hasattr(model, 'dense_topk_ratio'):
        return {}
    last = functools.partial(Tap, derive=LastQueries(count))
    return dict(decoder=[last(Source('decoder'))], query_cls=[last(Source('bbox_head'), (0,))],
                query_boxes=[last(Source('bbox_head'), (1,))])
