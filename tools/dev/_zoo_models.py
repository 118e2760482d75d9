"""The distinct models of a library's zoo."""
import glob
import importlib.util
import json
import os

from _zoo_shrink import narrow, one_block_per_stage, shrink
from mmengine.config import Config

LIBRARIES = ('mmseg', 'mmdet')
#: what does not make another model: weights, classes, sizes, how it is tested
_IGNORED = {'pretrained', 'init_cfg', 'checkpoint', 'num_classes', 'class_weight', 'test_cfg',
            'depth', 'img_size', 'size', 'drop_path_rate', 'norm_cfg', 'num_layers', 'depths',
            'loss_weight', 'dataset_name', 'min_kept', 'pretrain_img_size', '_scope_',
            'test_crop_size', 'sampler', 'align_corners'}
#: ... for a detector, whose numbers (widths, thresholds, anchors) do not either
_IGNORED_TOO = dict(mmseg=set(), mmdet={
    'data_preprocessor', 'arch', 'style', 'norm_eval', 'convert_weights', 'with_cp',
    'language_model', 'zero_init_residual'})


def _root(library):
    return os.path.join(os.path.dirname(importlib.util.find_spec(library).origin), '.mim',
                        'configs')


def model_of(config, library='mmseg', small=False):
    """The model dict of a zoo config ('pspnet/pspnet_....py'): random weights, plain BN, few
    layers. ``small``: also an eighth of the width, which not every model allows.

    Raises:
        LookupError: It has no model.
    """
    cfg = Config.fromfile(os.path.join(_root(library), config))
    if cfg.get('model') is None:
        raise LookupError('no model')
    model = cfg.model.to_dict()
    if model.get('data_preprocessor') is None and cfg.get('data_preprocessor') is not None:
        model['data_preprocessor'] = cfg.data_preprocessor.to_dict()
    if isinstance(model.get('teacher_config'), str):  # LD and LAD bring a network of their own
        model['teacher_config'] = os.path.join(os.path.dirname(_root(library)),
                                               model['teacher_config'])
    shrink(model, library)
    if small:
        narrow(model)
    model.setdefault('_scope_', library)
    return model


def _key(node, library):
    """What is equal for configs of one model."""
    if isinstance(node, dict):
        ignored = _IGNORED | _IGNORED_TOO[library]
        return {key: _key(value, library) for key, value in node.items() if key not in ignored}
    if library == 'mmdet' and isinstance(node, (int, float)) and not isinstance(node, bool):
        return 'number'
    return [_key(item, library) for item in node] if isinstance(node, (list, tuple)) else node


def distinct_models(library='mmseg'):
    """({config: how many configs have this model}, {config that cannot be read: why}).

    Of configs that differ only in weights, classes, sizes and depth (detectors: in numbers), the
    shallowest stands for all. Files without a model, which others build on, are left out.
    """
    found, unread, root = {}, {}, _root(library)
    for path in sorted(glob.glob(os.path.join(root, '*', '*.py'))):
        config = os.path.relpath(path, root)
        if config.startswith('_base_'):
            continue
        try:
            model = model_of(config, library)
        except LookupError:
            continue
        except Exception as error:
            why = f'{type(error).__name__}: {error}'.splitlines()[0]
            unread[config] = why.replace(root + os.sep, '')[:200]
            continue
        key = json.dumps(_key(model, library), sort_keys=True, default=str)
        found.setdefault(key, []).append((_depth(model), config))
    return {min(configs)[1]: len(configs) for configs in found.values()}, unread


def _depth(model):
    backbone = model.get('backbone') or {}
    depth = (backbone.get('backbone_cfg') or backbone).get('depth') or 0
    return depth if isinstance(depth, int) else 0


__all__ = ['LIBRARIES', 'distinct_models', 'model_of', 'one_block_per_stage']
