"""mmsegmentation: EncoderDecoder and CascadeEncoderDecoder with any head.

Semantic names: ``logits`` (before upsampling; the last head's), ``head`` (the
last feature before the classifier and its dropout), ``context`` (the output of
the head's context module: ASPP, PPM, ...), ``neck`` and ``backbone`` (their
last output), ``backbone_pre_relu`` (a ResNet's last output before its ReLU),
``aux_logits`` (the first auxiliary head's).
"""
import torch
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.structures import SegDataSample
from torch import nn


def owns(model):
    return isinstance(model, BaseSegmentor)


def _decode_heads(model):
    head = getattr(model, 'decode_head', None)
    if isinstance(head, nn.ModuleList):
        return [(f'decode_head.{i}', h) for i, h in enumerate(head)]
    return [('decode_head', head)] if head is not None else []


def _aux_heads(model):
    head = getattr(model, 'auxiliary_head', None)
    if isinstance(head, nn.ModuleList):
        return [(f'auxiliary_head.{i}', h) for i, h in enumerate(head)]
    return [('auxiliary_head', head)] if head is not None else []


def _classifier_input(path, head):
    """Taps of the feature that goes into the head's classifier."""
    names = ['conv_seg', 'cls_seg', 'fc_seg']
    if getattr(head, 'dropout', None) is not None:
        names.insert(0, 'dropout')
    return [f'{path}.{name}:input' for name in names if isinstance(
        getattr(head, name, None), nn.Module)]


def tap_names(model):
    """Semantic name -> taps to try; the first that gives a (N, C, H, W) map is meant."""
    names = {'backbone': ['backbone[-1]', 'backbone']}
    stages = [name for name, _ in getattr(model, 'backbone', nn.Module()).named_children()
              if name.startswith('layer')]
    if stages:
        last = getattr(model.backbone, stages[-1])
        blocks = [f'backbone.{stages[-1]}.{name}' for name, block in last.named_children()
                  if hasattr(block, 'relu')]
        if blocks:
            names['backbone_pre_relu'] = [f'{blocks[-1]}.relu:input[-1]',
                                          f'{blocks[-1]}.relu:input']
    if hasattr(model, 'neck'):
        names['neck'] = ['neck[-1]', 'neck']
    heads = _decode_heads(model)
    # A cascade's last head may give something else than a map (PointRend's
    # points); then the head before it is the one to distil.
    names['logits'] = [
        tap for path, head in reversed(heads)
        for tap in ([f'{path}.conv_seg', f'{path}.conv_seg[-1]']
                    if isinstance(getattr(head, 'conv_seg', None), nn.Module) else [])
        + [path, f'{path}[0]', f'{path}[-1]']]
    names['head'] = [tap + call for path, head in reversed(heads)
                     for tap in _classifier_input(path, head) for call in ('', '[-1]')]
    names['context'] = [f'{path}.bottleneck' for path, head in reversed(heads)
                        if hasattr(head, 'bottleneck')]
    aux = _aux_heads(model)
    if aux:
        names['aux_logits'] = [f'{aux[0][0]}.conv_seg', aux[0][0]]
    return {name: taps for name, taps in names.items() if taps}


def is_meant(model, name, value):
    """Is ``value`` what the semantic ``name`` stands for?"""
    if value.ndim != 4:
        return False
    return name not in ('logits', 'aux_logits') or value.shape[1] == model.out_channels


def facts(model):
    heads = _decode_heads(model)
    return dict(num_classes=getattr(model, 'num_classes', None),
                ignore_index=getattr(heads[-1][1], 'ignore_index', 255) if heads else 255)


def make_batch(model, size):
    """Two images (2, 3, H, W) with random labels, as the data preprocessor would give them."""
    mean = getattr(model.data_preprocessor, 'mean', None)
    channels = len(mean) if mean is not None else 3
    inputs = torch.randn(2, channels, *size)
    labels = torch.randint(0, max(getattr(model, 'num_classes', 2), 1), (2, 1, *size))
    samples = []
    for label in labels:
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size,
                                             padding_size=[0, 0, 0, 0]))
        sample.gt_sem_seg = PixelData(data=label)
        sample.gt_edge_map = PixelData(data=torch.zeros_like(label))  # boundary heads want it
        samples.append(sample)
    return inputs, samples


def forward(model, inputs, data_samples, paths=()):
    """Run the segmentor as in inference, to the last head's output (and the auxiliary
    heads if one of ``paths`` is in them)."""
    metas = [sample.metainfo for sample in data_samples]
    plain = type(model).encode_decode in (EncoderDecoder.encode_decode,
                                          CascadeEncoderDecoder.encode_decode)
    if not plain:
        if hasattr(model, 'encode_decode'):
            return model.encode_decode(inputs, metas)
        return model(inputs, data_samples, mode='tensor')
    features = model.extract_feat(inputs)
    for path, head in _aux_heads(model):
        if any(f'{wanted}.'.startswith(f'{path}.') for wanted in paths):
            head.forward(features)
    heads = [head for _, head in _decode_heads(model)]
    previous = ()
    for head in heads[:-1]:
        previous = (head.forward(features, *previous),)
    return heads[-1].predict(features, *previous, metas, model.test_cfg)


def _labels(inputs, data_samples):
    """Ground truth (N, H, W), int64."""
    missing = [i for i, sample in enumerate(data_samples or ()) if 'gt_sem_seg' not in sample]
    if not data_samples or missing:
        raise ValueError('a loss asks for labels, but '
                         + (f'samples {missing} have' if missing else 'the batch has')
                         + ' no gt_sem_seg: does the train pipeline load annotations?')
    return torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples]).long()


def _metas(inputs, data_samples):
    return [sample.metainfo for sample in data_samples]


def _inputs(inputs, data_samples):
    return inputs


def _data_samples(inputs, data_samples):
    return data_samples


EXTRAS = dict(labels=_labels, metas=_metas, inputs=_inputs, data_samples=_data_samples)
