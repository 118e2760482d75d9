"""mmseg's families, made small from its own base configs, as student and as teacher."""
import pytest
import torch

from mmkd.models.dry_run import DryRun
from mmkd.models.libraries import library_of
from mmkd.models.libraries import mmseg as library
from mmkd.models.recorder import Recorder
from mmkd.registry import MODELS
from mmkd.utils.configs import read_config
from tests.helpers import build, make_batch, tiny_distiller, tiny_segmentor
from tests.models.small_models import CLASSES, tensors_without_chance

_NARROW = {2048: 64, 1024: 32, 512: 16, 256: 8}  # the widths of a ResNet of base 8


def _each(value):
    return value if isinstance(value, list) else [value] if value else []


def _resnet(model, depth=18):
    model.pretrained = None
    backbone = model.backbone.get('backbone_cfg', model.backbone)
    backbone.update(depth=depth, base_channels=8, stem_channels=8)
    if model.get('neck'):
        model.neck.update(in_channels=[_NARROW[c] for c in model.neck.in_channels],
                          out_channels=8)
    for head in _each(model.decode_head) + _each(model.get('auxiliary_head')):
        if not model.get('neck'):
            wide = head.in_channels
            head.in_channels = [_NARROW[c] for c in wide] if isinstance(wide, list) \
                else _NARROW[wide]
        else:
            wide = head.in_channels
            head.in_channels = [8] * len(wide) if isinstance(wide, list) else 8
        head.channels = 8
        for key in ('c1_in_channels', 'c1_channels', 'ocr_channels', 'psa_channels'):
            if key in head:
                head[key] = 8


def _vit(model):
    model.pretrained = None
    model.backbone.update(embed_dims=16, num_layers=4, num_heads=2, out_indices=(0, 1, 2, 3),
                          img_size=(64, 64), patch_size=16)
    for head in _each(model.decode_head) + _each(model.get('auxiliary_head')):
        wide = head.in_channels
        head.in_channels = [16] * len(wide) if isinstance(wide, (list, tuple)) else 16
        head.channels = 16


def _setr(model):
    _vit(model)
    for index, head in enumerate(model.auxiliary_head):
        head.in_index = index
    model.decode_head.in_index = 3


def _segmenter(model):
    _vit(model)
    model.backbone.out_indices = (3,)
    model.decode_head.update(embed_dims=16, num_layers=1, num_heads=2, channels=16)


def _swin(model):
    model.pretrained = None
    model.backbone.update(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])
    model.decode_head.update(in_channels=[8, 16, 32, 64], channels=8)
    model.auxiliary_head.update(in_channels=32, channels=8)


def _mit(model):
    model.pretrained = None
    model.backbone.update(embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 1, 1])
    model.decode_head.update(in_channels=[8, 8, 8, 8], channels=8)


def _as_it_is(model):
    model.pretrained = None
    model.backbone.pop('init_cfg', None)


def _hrnet(model):
    model.pretrained = None
    for stage in ('stage1', 'stage2', 'stage3', 'stage4'):
        extra = model.backbone.extra[stage]
        extra.update(num_modules=1, num_blocks=(1,) * extra.num_branches)
    model.backbone.extra.stage1.num_channels = (16,)


def _icnet(model):
    model.pretrained = model.backbone.backbone_cfg.pretrained = None
    model.backbone.backbone_cfg.update(depth=18)
    model.backbone.layer_channels = (128, 512)


def _knet(model):
    head = model.decode_head
    inner = head.kernel_generate_head
    outer, model.decode_head = head, inner
    _resnet(model)
    model.decode_head = outer
    for update in outer.kernel_update_head:
        update.update(num_classes=CLASSES, num_ffn_fcs=2, num_heads=1, in_channels=8,
                      out_channels=8, feedforward_channels=8)
        update.kernel_updator_cfg.update(in_channels=8, feat_channels=8, out_channels=8)


def _dpt(model):
    _vit(model)
    model.decode_head.update(embed_dims=16, post_process_channels=[8, 8, 8, 8], channels=8,
                             in_channels=[16] * 4)


def _bisenetv1(model):
    model.pretrained = None
    model.backbone.backbone_cfg.init_cfg = None


#: family: (base config, how to make it small, semantic names it must have)
_USUAL = {'logits', 'backbone', 'head'}
FAMILIES = {
    'FCN': ('fcn_r50-d8', _resnet, _USUAL | {'aux_logits', 'backbone_pre_relu'}),
    'PSP': ('pspnet_r50-d8', _resnet, _USUAL | {'context', 'aux_logits'}),
    'DeepLabV3': ('deeplabv3_r50-d8', _resnet, _USUAL | {'context'}),
    'DeepLabV3+': ('deeplabv3plus_r50-d8', _resnet, _USUAL | {'context'}),
    'UPer': ('upernet_r50', _resnet, _USUAL | {'context'}),
    'EncNet': ('encnet_r50-d8', _resnet, _USUAL | {'context'}),
    'DNL': ('dnl_r50-d8', _resnet, _USUAL | {'context'}),
    'DANet': ('danet_r50-d8', _resnet, _USUAL | {'context'}),
    'ANN': ('ann_r50-d8', _resnet, _USUAL | {'context'}),
    'APCNet': ('apcnet_r50-d8', _resnet, _USUAL | {'context'}),
    'CCNet': ('ccnet_r50-d8', _resnet, _USUAL | {'context'}),
    'DMNet': ('dmnet_r50-d8', _resnet, _USUAL | {'context'}),
    'GCNet': ('gcnet_r50-d8', _resnet, _USUAL | {'context'}),
    'NonLocal': ('nonlocal_r50-d8', _resnet, _USUAL | {'context'}),
    'ISANet': ('isanet_r50-d8', _resnet, _USUAL | {'context'}),
    'PSANet': ('psanet_r50-d8', _resnet, _USUAL | {'context'}),
    'K-Net': ('knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512', _knet, _USUAL),
    'DPT': ('dpt_vit-b16', _dpt, _USUAL),
    'BiSeNetV1': ('bisenetv1_r18-d32', _bisenetv1, _USUAL | {'aux_logits'}),
    'EMANet': ('emanet_r50-d8', _resnet, _USUAL | {'context'}),
    'FPN': ('fpn_r50', _resnet, _USUAL | {'neck'}),
    'PointRend': ('pointrend_r50', _resnet, _USUAL | {'neck'}),
    'OCRNet': ('ocrnet_r50-d8', _resnet, _USUAL | {'context'}),
    'OCRNet-HR': ('ocrnet_hr18', _hrnet, _USUAL),
    'Swin': ('upernet_swin', _swin, _USUAL),
    'SegFormer': ('segformer_mit-b0', _mit, _USUAL),
    'Segmenter': ('segmenter_vit-b16_mask', _segmenter, {'logits', 'backbone'}),
    'SETR': ('setr_naive', _setr, _USUAL | {'aux_logits'}),
    'BiSeNetV2': ('bisenetv2', _as_it_is, _USUAL | {'aux_logits'}),
    'Fast-SCNN': ('fast_scnn', _as_it_is, _USUAL),
    'ICNet': ('icnet_r50-d8', _icnet, _USUAL | {'neck'}),
    'STDC': ('stdc', _as_it_is, _USUAL),
    'DDRNet': ('ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024', _as_it_is, _USUAL),
    'PIDNet': ('pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes', _as_it_is, _USUAL),
}


def family(name):
    """The small model dict of a family and the names it must have."""
    path, shrink, names = FAMILIES[name]
    model = read_config(f"mmseg::{path if '/' in path else f'_base_/models/{path}'}.py").model
    shrink(model)
    for head in _each(model.decode_head) + _each(model.get('auxiliary_head')):
        head = head.get('kernel_generate_head', head)  # K-Net
        head.num_classes = CLASSES
        if head.get('norm_cfg'):
            head.norm_cfg = dict(type='BN', requires_grad=True)
        for loss in _each(head.loss_decode):
            loss.pop('class_weight', None)
            if loss.type == 'OhemCrossEntropy':
                loss.min_kept = 100
    model.update(type=f'mmseg.{model.type}', _scope_='mmseg')
    model.data_preprocessor = tiny_segmentor()['data_preprocessor']  # update() would merge
    model.test_cfg = dict(model.get('test_cfg') or {}, mode='whole')
    return model, names


def batch_for(distiller):
    batch = make_batch(2, 64, CLASSES)
    for sample in batch['data_samples']:
        sample.gt_edge_map = type(sample.gt_sem_seg)(data=sample.gt_sem_seg.data * 0)
    return distiller.data_preprocessor(batch, True)


def step(distiller):
    losses = distiller.train()(**batch_for(distiller), mode='loss')
    total, log = distiller.parse_losses(losses)
    total.backward()
    assert all(torch.isfinite(value).all() for value in log.values())
    return losses


@pytest.mark.parametrize('name', FAMILIES)
def test_family(name):
    cfg, names = family(name)
    model = build(cfg)
    names = sorted(names)
    read = []
    for training in (True, False):
        run = DryRun(model, library_of(model), 'model', names, training)
        assert not run.errors, run.errors
        read.append(tensors_without_chance(model, library, run, training))
        assert run.examples['logits'].shape[:2] == (2, CLASSES)
        assert all(value.ndim == 4 for value in run.examples.values())
    for key in names:  # both sides read the same
        torch.testing.assert_close(read[0][key], read[1][key], rtol=1e-4, atol=1e-5)
    # the classifier's input, not its output
    if 'head' in names and name not in ('PIDNet', 'PointRend', 'K-Net'):
        head = run.taps['head'].source
        assert head.is_input and run.taps['logits'].source.path.startswith(
            head.path.rpartition('.')[0])
    # as student and as teacher, on the logits and on the backbone
    terms = dict(out=dict(tap='logits', loss=dict(type='mmkd.CWDLoss'), weight=1.),
                 mid=dict(tap='backbone', loss=dict(type='mmkd.FitNetLoss'), weight=1.,
                          student_connector=dict(type='mmkd.ConvConnector')))
    distiller = build(tiny_distiller(terms, cfg, tiny_segmentor()))
    losses = step(distiller)
    assert losses['loss_out'] > 0 and losses['loss_mid'] > 0
    step(build(tiny_distiller(terms, tiny_segmentor(), cfg)))


@pytest.mark.parametrize('name', ['PSP', 'OCRNet', 'FPN', 'SegFormer'])
def test_logits_are_those_that_inference_upsamples(name):
    """The tap, brought to the picture's size, is what ``mode='tensor'`` and predict use."""
    model = build(family(name)[0]).eval()
    inputs, samples = library.make_batch(model, (64, 64))
    run = DryRun(model, library, 'model', ['logits'], training=False)
    source = run.taps['logits'].source
    with torch.no_grad(), Recorder(model, [source]) as recorder:
        out = model.encode_decode(inputs, [s.metainfo for s in samples])
    up = torch.nn.functional.interpolate(
        run.taps['logits'].select(recorder.calls[source]), (64, 64), mode='bilinear',
        align_corners=model.align_corners)
    torch.testing.assert_close(up, out)


def test_a_recipe_that_needs_more_than_a_family_has_says_so():
    with pytest.raises(ValueError, match="term 'context': student tap 'context': this "
                       r"FCNHead on ResNetV1c has no 'context' \(.*\); it has logits, head, "
                       "backbone, backbone_pre_relu. Models that have it: .*ASPPHead"):
        MODELS.build(tiny_distiller('attnfd', tiny_segmentor('FCNHead'), tiny_segmentor()))
