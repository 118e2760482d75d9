"""The models of the zoos, as small as they get without becoming others."""
import re

import mmdet.models.backbones as mmdet_backbones
import mmseg.models.backbones as mmseg_backbones
from _zoo_libraries import ZOOS

#: of the transformers of one image size; no size that is tried anyway
_IMAGE = (96, 96)
#: what a detector does often, or with many: candidates, RoIs, queries
_MOST = dict(nms_pre=200, max_per_img=50, num_queries=100, num_proposals=50, num_cp=2,
             deepen_factor=0.1)
_ROIS, _CLASSES = 64, 20
#: type -> widths that it has without its config saying so
_DEFAULTS = {
    '^(ResNeXt|ResNet|ResNetV1d|ResNeSt|Res2Net|DetectoRS_ResNet|TridentResNet)$': dict(
        base_channels=64, stem_channels=64),
    '^PyramidVisionTransformer': dict(embed_dims=64), '^HourglassNet$': dict(feat_channel=256),
    '(DETR|DINO)Head$': dict(embed_dims=256),
    '^Sparse(Encoder|EncoderSASSD|UNet)$': dict(output_channels=128),
    '^(DCN)?SeparateHead$': dict(head_conv=64)}
_WIDTHS = 'channel|^embed_dims$|^num_feats$|^hidden_dim$|^head_conv$'


def one_block_per_stage():
    """Make every ResNet and Darknet of this process as shallow as it gets."""
    for module in (mmseg_backbones, mmdet_backbones):
        for family in vars(module).values():
            settings = getattr(family, 'arch_settings', None)
            if isinstance(settings, dict):
                family.arch_settings = {key: _shallow(value) for key, value in settings.items()}


def _shallow(setting):
    """(block, (3, 4, 6, 3)) or ((1, 2, 8, 8, 4), channels) with ones; others as they are."""
    if not isinstance(setting, tuple) or len(setting) != 2:
        return setting
    return tuple(tuple(1 for _ in part) if isinstance(part, tuple) and part and all(
        isinstance(number, int) for number in part) else part for part in setting)


def shrink(node, library):
    """Change a model dict: no weights to download, BN instead of SyncBN, one layer per output
    or stage, small images; of a detector few queries, candidates and RoIs, and it predicts boxes
    whatever their score."""
    if isinstance(node, (list, tuple)):
        for item in node:
            shrink(item, library)
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
    for key in ('depths', 'num_layers', 'num_blocks', 'stage_blocks'):
        if isinstance(node.get(key), (list, tuple)):
            node[key] = type(node[key])(1 for _ in node[key])
    if 'num_modules' in node:
        node['num_modules'] = 1
    for part, most in ZOOS[library].layers.items():
        if isinstance(node.get(part), dict) and (node[part].get('num_layers') or 0) > most:
            node[part]['num_layers'] = most
    if 'img_size' in node and node.get('patch_size', 16) == 16:
        node['img_size'] = _IMAGE
    if isinstance(node.get('text_encoder'), dict):
        node['text_encoder'].update(num_layers=1, templates=['a photo of a {}.'])
    if ZOOS[library].few:
        _few(node)
    for value in node.values():
        shrink(value, library)


def narrow(node):
    """Divide all that is called a width by 8; where widths are also written in a class
    (RegNet, SSD, ...), the model then does not build."""
    if isinstance(node, (list, tuple)):
        for item in node:
            narrow(item)
    if not isinstance(node, dict):
        return
    for types, defaults in _DEFAULTS.items():
        if re.search(types, str(node.get('type')).rpartition('.')[2]):
            node.update({key: node.get(key, value) for key, value in defaults.items()})
    for key, value in node.items():
        if re.search(_WIDTHS, key):
            node[key] = _narrowed(value)
        narrow(value)
    if isinstance(node.get('widen_factor'), float):
        node['widen_factor'] /= 8
    if isinstance(node.get('num_groups'), int):
        node['num_groups'] = min(node['num_groups'], 4)


def _narrowed(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(_narrowed, value))
    return value // 8 if isinstance(value, int) and value >= 32 else value


def _few(node):
    for key, most in _MOST.items():
        if isinstance(node.get(key), (int, float)) and node[key] > most:
            node[key] = most
    if isinstance(node.get('sampler'), dict) and node['sampler'].get('num', 0) > _ROIS:
        node['sampler']['num'] = _ROIS
    if isinstance(node.get('num_classes'), int) and node['num_classes'] > 100:
        node['num_classes'] = _CLASSES
    if isinstance(node.get('score_thr'), float):
        node['score_thr'] = 0.
    if 'teacher_ckpt' in node:
        node['teacher_ckpt'] = None


__all__ = ['narrow', 'one_block_per_stage', 'shrink']
