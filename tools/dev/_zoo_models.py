"""The distinct models of mmseg's zoo, as small as they get without becoming others."""
import glob
import json
import os

import mmseg
from mmengine.config import Config
from mmseg.models.backbones import ResNeSt, ResNet, ResNeXt

ROOT = os.path.join(os.path.dirname(mmseg.__file__), '.mim', 'configs')
#: what does not make another model: weights, classes, sizes, how it is tested
_IGNORED = {'pretrained', 'init_cfg', 'checkpoint', 'num_classes', 'class_weight', 'test_cfg',
            'depth', 'img_size', 'size', 'drop_path_rate', 'norm_cfg', 'num_layers', 'depths',
            'loss_weight', 'dataset_name', 'min_kept', 'pretrain_img_size', '_scope_',
            'test_crop_size', 'sampler', 'align_corners'}

#: of the transformers of one image size; no size that is tried anyway
_IMAGE = (96, 96)
#: of a transformer decoder: one for each of the levels that it reads in turn
_LAYERS = 3


def one_block_per_stage():
    """Make every ResNet of this process as shallow as it gets."""
    for family in (ResNet, ResNeXt, ResNeSt):
        family.arch_settings = {depth: (block, (1, 1, 1, 1))
                                for depth, (block, _) in family.arch_settings.items()}


def model_of(config):
    """The model dict of a zoo config ('pspnet/pspnet_....py'): random weights, plain BN, few
    layers."""
    cfg = Config.fromfile(os.path.join(ROOT, config))
    model = cfg.model.to_dict()
    if model.get('data_preprocessor') is None:
        model['data_preprocessor'] = cfg.get('data_preprocessor').to_dict()
    _shrink(model)
    model.setdefault('_scope_', 'mmseg')
    return model


def _shrink(node):
    """No weights to download, BN instead of SyncBN, one layer per output or stage, small
    images."""
    if isinstance(node, (list, tuple)):
        for item in node:
            _shrink(item)
    if not isinstance(node, dict):
        return
    node.pop('pretrained', None)
    if isinstance(node.get('init_cfg'), dict) and 'checkpoint' in node['init_cfg']:
        node.pop('init_cfg')
    if node.get('type') == 'SyncBN':
        node['type'] = 'BN'
    layers, out = node.get('num_layers'), node.get('out_indices')
    if isinstance(layers, int) and isinstance(out, (list, tuple)) and layers > len(out):
        node['num_layers'], node['out_indices'] = len(out), type(out)(range(len(out)))
        if 'num_heads' not in node:
            node['num_layers'], node['out_indices'] = layers, out
    for key in ('depths', 'num_layers', 'num_blocks'):
        if isinstance(node.get(key), (list, tuple)):
            node[key] = type(node[key])(1 for _ in node[key])
    if 'num_modules' in node:
        node['num_modules'] = 1
    for part in ('encoder', 'transformer_decoder'):  # of a head that classifies masks
        if isinstance(node.get(part), dict) and node[part].get('num_layers', 0) > _LAYERS:
            node[part]['num_layers'] = _LAYERS
    if 'img_size' in node and node.get('patch_size', 16) == 16:
        node['img_size'] = _IMAGE
    if isinstance(node.get('text_encoder'), dict):
        node['text_encoder'].update(num_layers=1, templates=['a photo of a {}.'])
    for value in node.values():
        _shrink(value)


def _key(node):
    if isinstance(node, dict):
        return {key: _key(value) for key, value in node.items() if key not in _IGNORED}
    return [_key(item) for item in node] if isinstance(node, (list, tuple)) else node


def distinct_models():
    """({config: how many configs have this model}, {config that cannot be read: why}).

    Of configs that differ only in weights, classes, sizes and depth, the shallowest stands for
    all.
    """
    found, unread = {}, {}
    for path in sorted(glob.glob(os.path.join(ROOT, '*', '*.py'))):
        config = os.path.relpath(path, ROOT)
        if config.startswith('_base_'):
            continue
        try:
            model = model_of(config)
        except Exception as error:
            unread[config] = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
            continue
        found.setdefault(json.dumps(_key(model), sort_keys=True, default=str), []).append(
            (_depth(model), config))
    return {min(configs)[1]: len(configs) for configs in found.values()}, unread


def _depth(model):
    backbone = model.get('backbone') or {}
    return (backbone.get('backbone_cfg') or backbone).get('depth') or 0


__all__ = ['distinct_models', 'model_of', 'one_block_per_stage']
