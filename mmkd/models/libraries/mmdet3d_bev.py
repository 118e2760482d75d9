"""Where the maps seen from above are in a detector of mmdet3d, and which metres they cover.

Such a map is (B, C, Y, X), in the LiDAR frame (of a single camera's detector: that of its boxes).
"""
from torch import nn

from ..layout import UNKNOWN, Layout

#: role -> the modules that may have it, the first that is there
_PARTS = dict(
    backbone=('img_bev_encoder_backbone', 'pts_backbone'),
    neck=('img_bev_encoder_neck', 'pts_neck'),
    head=('pts_bbox_head',))
#: the same of detectors with one modality, if they put points or images onto a map at all
_PARTS_OF_ONE = dict(backbone=('backbone',), neck=('neck',), head=('rpn_head', 'bbox_head'))
#: modules whose output is the map that the BEV backbone is given
_SOURCES = ('img_view_transformer', 'view_transform', 'pts_middle_encoder', 'middle_encoder',
            'fusion_layer', 'pts_fusion_layer')
_NEAR = 1e-3  # metres


def module_of(model, *names):
    """(name, module) of the first of these that the model has; (None, None) if it has none."""
    for name in names:
        part = getattr(model, name, None)
        if isinstance(part, nn.Module):
            return name, part
    return None, None


def view_transformer(model):
    """What lifts image features onto a map; None if the model has no such part."""
    return module_of(model, 'img_view_transformer', 'view_transform')[1]


def bev_parts(model):
    """Role ('backbone', 'neck', 'head') -> path, of what works on maps seen from above."""
    if module_of(model, *_PARTS['head'])[1] is not None:
        parts = _PARTS
    elif module_of(model, 'middle_encoder')[1] is not None:
        parts = _PARTS_OF_ONE
    elif module_of(model, 'neck_3d')[1] is not None:
        parts = dict(neck=('neck_3d',), head=('bbox_head',))
    else:
        return {}
    found = {role: module_of(model, *names)[0] for role, names in parts.items()}
    return {role: path for role, path in found.items() if path is not None}


def bev_range(model):
    """(x_min, y_min, x_max, y_max) in metres that the model's maps seen from above cover.

    None if it has no such maps or its parts do not say.

    Raises:
        ValueError: Its parts say different things.
    """
    parts = bev_parts(model)
    if not parts:
        return None
    told = _told(model, getattr(model, parts.get('head', ''), None))
    whole = [(who, given) for who, given in told if len(given) == 4]
    if not whole:
        return None
    first, metres = whole[0]
    for who, given in told:
        if any(abs(a - b) > _NEAR for a, b in zip(given, metres, strict=False)):
            raise ValueError(
                f'{type(model).__name__}: {first} says that its BEV maps cover {list(metres)} '
                f'(x_min, y_min, x_max, y_max; metres), but {who} says {list(given)}: targets or '
                'boxes would be displaced. Set the same point cloud range in both')
    return metres


def _told(model, head):
    """[(who, (x_min, y_min) or all four)], the most reliable first."""
    lift = view_transformer(model)
    layer = getattr(model.data_preprocessor, 'voxel_layer', None)
    found = [('the view transformer', getattr(lift, 'point_cloud_range', None)),
             ('the voxel layer', getattr(layer, 'point_cloud_range', None))]
    train, test = (getattr(head, key, None) or {} for key in ('train_cfg', 'test_cfg'))
    coder = getattr(head, 'bbox_coder', None)
    found += [("the head's train_cfg", train.get('point_cloud_range')),
              ("the head's bbox_coder", getattr(coder, 'pc_range', None)),
              ("the head's test_cfg", test.get('pc_range'))]
    if not any(given is not None and len(given) == 6 for _, given in found):
        ranges = getattr(getattr(head, 'prior_generator', None), 'ranges', None) or [None]
        found.append(("the head's anchors", ranges[0]))
    return [(who, tuple(float(given[i]) for i in ((0, 1, 3, 4) if len(given) == 6 else (0, 1))))
            for who, given in found if given is not None]


def bev_grid(model):
    """(X, Y) cells of the view transformer or the voxels, of which the maps are made, or None."""
    for part in (view_transformer(model), getattr(model.data_preprocessor, 'voxel_layer', None)):
        metres, size = (getattr(part, key, None) for key in ('point_cloud_range', 'voxel_size'))
        if metres is not None and size is not None:
            return tuple(max(round((float(metres[i + 3]) - float(metres[i])) / float(size[i])), 1)
                         for i in (0, 1))
    return None


def task_classes(model):
    """The names of the classes of each task of a CenterHead; None for another head."""
    head = getattr(model, bev_parts(model).get('head', ''), None)
    names = getattr(head, 'class_names', None)
    if not hasattr(head, 'task_heads') or not names:
        return None
    return tuple(tuple(task) for task in names)


def layout(model, name, tap):
    """The Layout of what ``tap`` gives, which may stand for the semantic ``name``."""
    if not all(_on_map(model, source) for source in tap.sources):
        return UNKNOWN
    tasks = task_classes(model) if name in ('heatmap', 'reg') else None
    if tasks is not None:
        tasks = tasks[slice(*tap.levels)]
    return Layout(True, bev_range(model), bev_grid(model), tasks, name == 'heatmap')


def _on_map(model, source):
    top = source.path.partition('.')[0]
    if top in _SOURCES:
        return source.path == top and not source.is_input
    return top in bev_parts(model).values()
