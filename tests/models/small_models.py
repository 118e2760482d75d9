"""mmseg's models that tests/helpers.py cannot make, small, and what taps read of a model."""
import copy

import torch

from mmkd.models.recorder import Recorder
from mmkd.utils.configs import read_config
from tests.helpers import tiny_segmentor

CLASSES = 4


def tensors_without_chance(model, library, run, training):
    """{as written: tensor} of a dry run's taps, read from a forward of ``model`` in which the
    parts give what they give in training, but every layer works as in inference."""
    twin = copy.deepcopy(model).eval()
    parts = {'', 'backbone', 'neck', *(path for path, _ in library.heads(twin))}
    for path, module in twin.named_modules():
        module.training = training and path in parts
    torch.manual_seed(8)
    batch = library.make_batch(twin, (run.size, run.size))
    with torch.no_grad(), Recorder(twin, run.counts, run.clone) as recorder:
        if training:
            twin.loss(*batch)
        else:
            library.forward(twin, *batch, [source.path for source in run.counts])
    return {text: tap.select(recorder.calls[tap.source]) for text, tap in run.taps.items()}


def finished(model):
    """A model dict of mmseg's as the tests build it: its own scope, the tests' images."""
    model.update(type=f'mmseg.{model.type}', _scope_='mmseg', pretrained=None)
    model.test_cfg = dict(model.get('test_cfg') or {}, mode='whole')
    model.data_preprocessor = tiny_segmentor()['data_preprocessor']  # update() would merge
    return model


def _narrow_resnet(model):
    model.backbone.update(depth=18, base_channels=8, stem_channels=8, init_cfg=None)
    model.decode_head.update(in_channels=[8, 16, 32, 64], feat_channels=16, out_channels=16,
                             num_queries=5, num_classes=CLASSES)
    model.decode_head.loss_cls.class_weight = [1.] * CLASSES + [0.1]
    model.decode_head.pixel_decoder.norm_cfg = dict(type='GN', num_groups=2)


def mask2former():
    model = read_config(
        'mmseg::mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py').model
    _narrow_resnet(model)
    head = model.decode_head
    head.pixel_decoder.encoder.update(num_layers=1, layer_cfg=dict(
        self_attn_cfg=dict(embed_dims=16, num_heads=2, num_levels=3, num_points=2),
        ffn_cfg=dict(embed_dims=16, feedforward_channels=16, num_fcs=2,
                     act_cfg=dict(type='ReLU', inplace=True))))
    head.pixel_decoder.positional_encoding = head.positional_encoding = dict(
        num_feats=8, normalize=True)
    head.transformer_decoder.update(num_layers=2, layer_cfg=dict(
        self_attn_cfg=dict(embed_dims=16, num_heads=2, batch_first=True),
        cross_attn_cfg=dict(embed_dims=16, num_heads=2, batch_first=True),
        ffn_cfg=dict(embed_dims=16, feedforward_channels=16, num_fcs=2)))
    return finished(model)


def maskformer():
    model = read_config(
        'mmseg::maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py').model
    _narrow_resnet(model)
    head = model.decode_head
    head.enforce_decoder_input_project = True
    head.positional_encoding = dict(num_feats=8, normalize=True)
    head.transformer_decoder.update(num_layers=2, layer_cfg=dict(
        self_attn_cfg=dict(embed_dims=16, num_heads=2, batch_first=True),
        cross_attn_cfg=dict(embed_dims=16, num_heads=2, batch_first=True),
        ffn_cfg=dict(embed_dims=16, feedforward_channels=16, num_fcs=2,
                     act_cfg=dict(type='ReLU', inplace=True))))
    return finished(model)
