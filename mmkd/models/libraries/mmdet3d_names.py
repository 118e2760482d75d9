"""What semantic names mean for a detector of mmdet3d.

A name's taps are the same in training and inference: of a CenterHead the layers are tapped, since
its loss puts the sigmoid of the heatmap in the place of its logits.
"""
from dataclasses import dataclass

import torch
from torch import nn

from ..taps import JoinedTap, Source, Tap, parse_tap
from .mmdet3d_bev import bev_parts, module_of, view_transformer

#: channels of a CenterHead's regression, in this order
BOX_PARTS = ('reg', 'height', 'dim', 'rot', 'vel')

#: name -> (what it is, which models have it)
MEANINGS = dict(
    bev=('the finest map seen from above that the head reads (B, C, Y, X)',
         'those with a map seen from above: CenterPoint, PointPillars, SECOND, BEVDet and alike'),
    bev_backbone=("the BEV backbone's outputs, a pyramid", 'the same'),
    bev_input=('the map that the BEV backbone is given: of the view transformer, or of the voxels',
               'the same'),
    heatmap=("the logits of the classes' heatmaps, a list with a map (B, K, Y, X) for each task",
             'those with a CenterHead'),
    reg=(f"the regression of each task, a list of maps (B, 10, Y, X): {', '.join(BOX_PARTS)}",
         'those with a CenterHead'),
    cls=('the class scores of every level, a pyramid', 'those with anchors, FCOS3D, PGD'),
    box_reg=('the raw box regression of every level, a pyramid', 'those with anchors'),
    dir_cls=("the scores of the heading's direction of every level, a pyramid",
             'those with anchors, FCOS3D, PGD'),
    centerness=('the centerness of every level, a pyramid', 'FCOS3D, PGD'),
    voxels=('the features of the voxels or pillars, as rows (M, C) in the order of the '
            "batch's voxels", 'those that read points through voxels'),
    depth=("the view transformer's probability of each depth bin (B * N, D, H, W)",
           'those that lift images by their depth (BEVDet and alike)'),
    neck=("the image neck's outputs, a pyramid", 'those with an image branch'),
    backbone=("the image backbone's outputs that the neck reads, a pyramid",
              'those with an image branch'))


@dataclass(frozen=True)
class BoxChannels:
    """A task's regression (B, 10 or 8, Y, X): reg 2, height 1, dim 3, rot 2 and, where it is
    predicted, vel 2."""
    __name__ = 'box_channels'

    def __call__(self, given):
        return torch.cat([given[part] for part in BOX_PARTS if part in given], 1)


def tap_names(model):
    """Semantic name -> taps to try, in order."""
    names = {**_seen_from_above(model), **_of_images(model)}
    path, _ = module_of(model, 'pts_voxel_encoder', 'voxel_encoder')
    if path is not None:
        names['voxels'] = [path, f'{path}[0]']
    return {name: [tap if isinstance(tap, (Tap, JoinedTap)) else parse_tap(tap)
                   for tap in names[name]] for name in MEANINGS if names.get(name)}


def _seen_from_above(model):
    parts, names = bev_parts(model), {}
    if 'backbone' in parts:
        names.update(bev_input=[f"{parts['backbone']}:input"],
                     bev_backbone=[f"{parts['backbone']}[:]"])
    # What the head is given is the same tensor, but the module that makes it reads better.
    last = parts.get('neck', parts.get('backbone'))
    names['bev'] = [f'{last}[0]', last] if last else []
    path = parts.get('head') or module_of(model, 'bbox_head')[0]
    if path is None:
        return names
    names['bev'] += [f'{path}:input[0]'] if parts else []
    head = getattr(model, path)
    if hasattr(head, 'task_heads'):
        tasks = [f'{path}.task_heads.{i}' for i in range(len(head.task_heads))]
        names.update(heatmap=[JoinedTap(tuple(parse_tap(f'{task}.{layer}') for task in tasks))
                              for layer in ('heatmap', 'cls_head')],
                     reg=[JoinedTap(tuple(Tap(Source(task), derive=BoxChannels())
                                          for task in tasks))])
    else:
        names.update({name: [f'{path}.{layer}[:]'] for name, layer in dict(
            cls='conv_cls', box_reg='conv_reg', dir_cls='conv_dir_cls',
            centerness='conv_centerness').items() if hasattr(head, layer)})
    return names


def _of_images(model):
    """Names of the image branch, and of what lifts its features onto the map."""
    prefix = 'img_'
    if module_of(model, 'img_backbone')[1] is None:
        if module_of(model, 'middle_encoder', 'voxel_encoder')[1] is not None:
            return {}
        prefix = ''
    backbone, _ = module_of(model, f'{prefix}backbone')
    neck, module = module_of(model, f'{prefix}neck')
    if backbone is None or not _reads_images(model, prefix):
        return {}
    start = getattr(module, 'start_level', 0) or 0
    # Of two frames (BEVDet4D) the first call is this frame's.
    names = dict(backbone=[Tap(Source(backbone), index, levels=(start or None, None))
                           for index in ((), (0,))])
    if neck is not None:
        names['neck'] = [f'{neck}[:]', f'{neck}[0][:]']
    lift = view_transformer(model)
    if isinstance(getattr(lift, 'depth_probability', None), nn.Module):
        path = f"{module_of(model, 'img_view_transformer', 'view_transform')[0]}.depth_probability"
        names['depth'] = [path, f'{path}[0]']
    return names


def _reads_images(model, prefix):
    """Whether ``backbone`` is one of images: of points it is, too, in VoteNet and alike."""
    return bool(prefix) or any(
        isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1
        for module in model.backbone.modules())
