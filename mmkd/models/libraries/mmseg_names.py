"""What semantic names mean for a segmentor of mmseg.

A name is defined by what inference does: the candidates below are tried there, in order, and
the dry run then looks for the place that gives the same tensor in training.
"""
from torch import nn

from ..taps import Source, Tap, parse_tap
from . import mmseg_masks
from ._tables import entry_of

#: head class -> taps of what its context module gives, to try in order. Subclasses inherit;
#: heads that are not here have none.
_CONTEXT = dict(
    ANNHead='context', APCHead='bottleneck', ASPPHead='bottleneck', CCHead='cca',
    DAHead='dropout:input conv_seg:input', DMHead='bottleneck', DNLHead='dnl_block',
    EMAHead='bottleneck:input', EncHead='enc_module[1]', GCHead='gc_block', ISAHead='out_conv',
    LightHamHead='hamburger', LRASPPHead='conv_up_input:input', NLHead='nl_block',
    OCRHead='object_context_block', PSAHead='bottleneck', PSPHead='bottleneck',
    UPerHead='bottleneck')
_CLASSIFIERS = ('conv_seg', 'cls_seg', 'fc_seg')
#: heads that classify masks -> what derives their class map
_MASK_HEADS = dict(Mask2FormerHead=mmseg_masks.class_map_of_queries,
                   MaskFormerHead=mmseg_masks.class_map_of_queries,
                   SideAdapterCLIPHead=mmseg_masks.class_map_of_proposals)

#: name -> (what it is, which models have it)
MEANINGS = dict(
    logits=('the class scores before upsampling', 'all that predict a class map'),
    head=('the last feature before the classifier, before its dropout',
          'those whose decode head ends in a classifier convolution (FCN, PSP, ASPP, UPer, '
          'SegFormer, K-Net and most others)'),
    context=("the output of the decode head's context module",
             'those with ' + ', '.join(_CONTEXT)),
    neck=("the neck's output, the last that is read", 'those with a neck'),
    backbone=("the backbone's output, the last that the decode head (or the neck) reads",
              'all with a backbone that gives maps'),
    backbone_pre_relu=("the ResNet's output before its ReLU",
                       'those with a ResNet, ResNeXt or ResNeSt backbone'),
    aux_logits=("the first auxiliary head's class scores", 'those with an auxiliary head'),
    depth=('the depth map before upsampling', 'depth estimators'),
    class_queries=("each query's class scores, as a map (N, C + 1, Q, 1)",
                   'Mask2Former, MaskFormer, SAN'),
    mask_embeddings=("each query's mask embedding, as a map (N, E, Q, 1)",
                     'Mask2Former, MaskFormer, SAN'),
    mask_features=("the pixel decoder's feature, of which masks are made",
                   'Mask2Former, MaskFormer'))


def heads(model, name='decode_head'):
    """[(path, head)] of a segmentor's decode or auxiliary heads."""
    head = getattr(model, name, None)
    if isinstance(head, nn.ModuleList):
        return [(f'{name}.{i}', item) for i, item in enumerate(head)]
    return [(name, head)] if head is not None else []


def backbone_of(model):
    """(path, module) of what reads the image; (None, None) if the model has no such part."""
    for name in ('backbone', 'image_encoder'):
        if isinstance(getattr(model, name, None), nn.Module):
            return name, getattr(model, name)
    return None, None


def tap_names(model):
    """Semantic name -> taps to try in inference; the first that gives what is meant is it."""
    decode = [_with_generator(path, head) for path, head in reversed(heads(model))]
    names = {'depth' if is_depth_estimator(model) else 'logits': _logits(model)}
    names['head'] = [f'{path}.{name}:input' for path, _ in decode
                     for name in ('dropout', *_CLASSIFIERS)]
    names['context'] = [f'{path}.{tap}' for path, head in decode
                        for tap in (entry_of(_CONTEXT, head) or '').split()]
    names.update(_features(model))
    names['aux_logits'] = [tap for path, _ in heads(model, 'auxiliary_head')
                           for tap in _outputs(path)]
    for path, head in heads(model):
        if entry_of(_MASK_HEADS, head):
            names.update(_queries(path))
    return {name: [tap if isinstance(tap, Tap) else parse_tap(tap) for tap in names[name]]
            for name in MEANINGS if names.get(name)}


def _with_generator(path, head):
    """K-Net refines what a usual head within it generates: that has the feature and context."""
    inner = getattr(head, 'kernel_generate_head', None)
    return (path, head) if inner is None else (f'{path}.kernel_generate_head', inner)


def is_depth_estimator(model):
    return any(cls.__name__ == 'DepthEstimator' for cls in type(model).__mro__)


def _outputs(path):
    """Taps of what a head gives first; its classifier, where that gives the same."""
    return [*(f'{path}.{name}' for name in _CLASSIFIERS), path, f'{path}[0]']


def _logits(model):
    taps = []
    # A cascade's last head may give something else than a map (PointRend's points); then
    # the head before it is the one to distil.
    for path, head in reversed(heads(model)):
        derive = entry_of(_MASK_HEADS, head)
        taps += _outputs(path) if derive is None else [Tap(Source(path), derive=derive)]
    return taps


def _queries(path):
    """Names of a head that classifies masks."""
    def of_queries(name):
        return Tap(Source(f'{path}.{name}'), derive=mmseg_masks.queries)

    return dict(
        class_queries=[of_queries('cls_embed'), Tap(Source(path), derive=mmseg_masks.last_scores)],
        mask_embeddings=[of_queries('mask_embed'), of_queries('rec_with_attnbias')],
        mask_features=[f'{path}.pixel_decoder[0]'])


def _features(model):
    """Names of what the decode heads read: the last of the outputs that they say they read."""
    read = [index for path, head in (_with_generator(*item) for item in heads(model))
            for index in _in_index(head)]
    last = max(read, key=lambda i: i if i >= 0 else 1000 + i, default=-1)
    path, backbone = backbone_of(model)
    if path is None:
        return {}
    if not isinstance(getattr(model, 'neck', None), nn.Module):
        return dict(backbone=_items(path, last), backbone_pre_relu=_pre_relu(backbone, last))
    return dict(backbone=_items(path, -1), backbone_pre_relu=_pre_relu(backbone, -1),
                neck=_items('neck', last))


def _in_index(head):
    index = getattr(head, 'in_index', None)
    if index is None or entry_of(_MASK_HEADS, head):  # these read everything
        return []
    return list(index) if isinstance(index, (list, tuple)) else [index]


def _items(path, index):
    """One of a part's outputs: a map, a map with its class token, or all it gives."""
    return [f'{path}[{index}]', f'{path}[{index}][0]', path]


def _pre_relu(backbone, index):
    """The last block's ReLU of a ResNet's stage."""
    stages = getattr(backbone, 'res_layers', None)
    given = getattr(backbone, 'out_indices', ())
    if not stages or not -len(given) <= index < len(given):
        return []
    stage = stages[given[index]]
    blocks = [name for name, block in getattr(backbone, stage).named_children()
              if isinstance(getattr(block, 'relu', None), nn.Module)]
    return [f'backbone.{stage}.{blocks[-1]}.relu:input'] if blocks else []
