"""Segmentors of every family, exported, run in ONNX Runtime and compared with PyTorch."""
import pytest
import torch

from mmkd.deploy.tasks import TASKS, task_for
from tests.deploy.models import Pair, draw, segmentor_config
from tests.helpers import tiny_segmentor

MOBILE = dict(
    backbone=dict(type='MobileNetV2', widen_factor=0.25, strides=(1, 2, 2, 1, 1, 1, 1),
                  dilations=(1, 1, 1, 2, 2, 4, 4), out_indices=(1, 2, 4, 6),
                  norm_cfg=dict(type='BN', requires_grad=True)))
FAMILIES = dict(pspnet=('PSPHead', dict(pool_scales=(1, 2, 3, 6))),
                deeplabv3=('ASPPHead', dict(dilations=(1, 6, 12, 18))),
                deeplabv3plus=('DepthwiseSeparableASPPHead', dict(dilations=(1, 6, 12, 18))),
                fcn=('FCNHead', {}))


def segmentor(family, backbone='r18', **changes):
    """The Config of a narrow segmentor whose classes differ by more than rounding."""
    head, args = FAMILIES[family]
    model = tiny_segmentor(head, num_classes=19, **args, **changes)
    if backbone == 'mobilenetv2':
        model.update(MOBILE)
        model['decode_head']['in_channels'] = 80
        if 'c1_in_channels' in model['decode_head']:
            model['decode_head']['c1_in_channels'] = 8
    return segmentor_config(model)


def pair_of(cfg, shape, folder, size=(64, 96), **changes):
    return Pair(cfg, f'segmentation_{shape}', folder, draw(folder / 'a.png', size), changes)


@pytest.mark.parametrize('backbone', ['r18', 'mobilenetv2'])
@pytest.mark.parametrize('family', ['pspnet', 'deeplabv3', 'deeplabv3plus'])
def test_families(tmp_path, family, backbone):
    cfg, task = segmentor(family, backbone), TASKS['segmentation']
    pair = pair_of(cfg, 'onnxruntime-dynamic', tmp_path)
    assert task_for(pair.pytorch) is task
    results = [task.compare(pair.pytorch, pair.exported, task.read(
        cfg, draw(tmp_path / 'b.png', size))) for size in ((64, 96), (96, 72), (53, 81))]
    assert max(one['scale'] for one in results) > 0.5  # else the next line says nothing
    assert max(one['logits'] for one in results) < 1e-5
    assert all(check.ok for check in task.checks(results))


def test_the_binary_head_is_compared_too(tmp_path):
    cfg = segmentor_config(tiny_segmentor(num_classes=2, out_channels=1, threshold=0.5,
                                          loss_decode=dict(type='CrossEntropyLoss',
                                                           use_sigmoid=True)))
    task, pair = TASKS['segmentation'], pair_of(cfg, 'onnxruntime-static', tmp_path)
    got = task.compare(pair.pytorch, pair.exported, task.read(cfg, str(tmp_path / 'a.png')))
    assert got['logits'] < 1e-5 and got['equal'] == got['pixels'] == 64 * 96


@pytest.mark.parametrize('change', ['classifier', 'stem'])
def test_another_network_is_seen(tmp_path, change):
    cfg, task = segmentor('fcn'), TASKS['segmentation']
    pair = pair_of(cfg, 'onnxruntime-static', tmp_path)
    data = task.read(cfg, str(tmp_path / 'a.png'))
    with torch.no_grad():
        if change == 'classifier':
            pair.pytorch.decode_head.conv_seg.bias[3] += 100
        else:
            next(pair.pytorch.backbone.parameters()).mul_(1.01)
    checks = task.checks([task.compare(pair.pytorch, pair.exported, data)])
    assert not all(check.ok for check in checks)


def test_logits_as_the_output(tmp_path):
    cfg, task = segmentor('fcn'), TASKS['segmentation']
    pair = pair_of(cfg, 'onnxruntime-static', tmp_path, **{'codebase_config.with_argmax': False})
    results = [task.compare(pair.pytorch, pair.exported, task.read(cfg, str(tmp_path / 'a.png')))]
    assert all(check.ok for check in task.checks(results))
