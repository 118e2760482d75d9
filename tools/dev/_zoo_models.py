"""The distinct models of a library's zoo."""
import glob
import importlib.util
import json
import os

from _zoo_libraries import ZOOS
from _zoo_shrink import narrow, one_block_per_stage, shrink
from _zoo_shrink_3d import coarsen
from mmengine.config import Config


def _root(library):
    return os.path.join(os.path.dirname(importlib.util.find_spec(library).origin), '.mim',
                        'configs')


def model_of(config, library='mmseg', smaller=()):
    """The model dict of a zoo config ('pspnet/pspnet_....py'): random weights, plain BN, few
    layers. ``smaller``: of 'narrow' and 'coarsen' those that are done, too; not every model allows
    them.

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
    for how in smaller:
        dict(narrow=narrow, coarsen=coarsen)[how](model)
    model.setdefault('_scope_', library)
    return model


def _key(node, library):
    """What is equal for configs of one model."""
    if isinstance(node, dict):
        return {key: _key(value, library) for key, value in node.items()
                if key not in ZOOS[library].ignored}
    if ZOOS[library].numbers_ignored and type(node) in (int, float):  # no bool
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


__all__ = ['distinct_models', 'model_of', 'one_block_per_stage']
