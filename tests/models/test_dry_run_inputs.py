"""Which images the dry run takes, and that whatever a forward keeps is not kept on the model."""
import collections
import copy
import random
import threading

import numpy as np
import pytest
import torch
from torch import nn

from mmkd.models.dry_run import DryRun
from mmkd.models.libraries import library_of
from mmkd.registry import MODELS
from mmkd.utils.configs import read_config
from tests.helpers import build, tiny_distiller, tiny_segmentor
from tests.models.small_models import finished
from tests.models.test_dry_run import dry_run


@pytest.mark.parametrize('channels, pre', [
    (4, dict(mean=None, std=None, bgr_to_rgb=False)),
    (1, dict(mean=None, std=None, bgr_to_rgb=False)),
    (1, dict(mean=[127.], std=[50.], bgr_to_rgb=False)),
    (3, dict(mean=[127.], std=[50.], bgr_to_rgb=False)),
    (6, dict(mean=[1.] * 6, std=[1.] * 6, bgr_to_rgb=False))])
def test_channels_come_from_the_model(channels, pre):
    cfg = tiny_segmentor()
    cfg['backbone']['in_channels'] = channels
    cfg['data_preprocessor'].update(pre)
    for training in (True, False):
        run = dry_run(build(cfg), ['logits'], training)
        assert not run.errors and run.batch[0].shape[1] == channels and run.size == 64
    build(tiny_distiller('kd', cfg, copy.deepcopy(cfg)))


def test_a_stem_that_is_not_the_first_convolution():
    """A side branch is registered before the stem, and takes something else than images."""
    model = build(tiny_segmentor())
    model.backbone._modules = dict(side=nn.Conv2d(5, 2, 1), **model.backbone._modules)
    run = dry_run(model, ['logits'])
    assert not run.errors and run.batch[0].shape[1] == 3


def _beit(size):
    model = read_config('mmseg::_base_/models/upernet_beit.py').model
    model.backbone.update(embed_dims=16, num_layers=4, num_heads=2, out_indices=(0, 1, 2, 3),
                          img_size=size, patch_size=16)
    model.neck = dict(type='Feature2Pyramid', embed_dim=16, rescales=[4, 2, 1, 0.5])
    model.decode_head.update(in_channels=[16] * 4, channels=8, num_classes=4)
    model.auxiliary_head.update(in_channels=16, channels=8, num_classes=4)
    for head in (model.decode_head, model.auxiliary_head):
        head.norm_cfg = dict(type='BN')
    model.neck['norm_cfg'] = dict(type='BN')
    return finished(model)


@pytest.mark.parametrize('size', [(96, 160), (320, 320)])
def test_a_model_of_one_size_runs_at_its_own(size):
    model = build(_beit(size))
    for training in (True, False):
        run = dry_run(model, ['logits', 'backbone'], training)
        assert not run.errors and tuple(run.batch[0].shape[2:]) == size and run.size == size[1]


def test_the_size_of_the_preprocessor_or_of_the_crop_counts():
    for size in (dict(data_preprocessor=(72, 88)), dict(test_cfg=(72, 88))):
        cfg = tiny_segmentor()
        if 'test_cfg' in size:
            cfg['test_cfg'] = dict(mode='slide', crop_size=size['test_cfg'], stride=(40, 40))
        else:
            cfg['data_preprocessor'].update(size=size['data_preprocessor'])
        model = build(cfg)
        kept = type(model.backbone).forward

        class Picky(type(model.backbone)):
            def forward(self, x, kept=kept):
                if tuple(x.shape[2:]) != (72, 88):
                    raise RuntimeError('another size')
                return kept(self, x)
        model.backbone.__class__ = Picky
        assert tuple(dry_run(model, ['logits']).batch[0].shape[2:]) == (72, 88)


def test_a_depth_estimator_gets_depth_maps():
    cfg = tiny_segmentor('FCNHead', width=16)
    cfg.update(type='mmseg.DepthEstimator')
    cfg['decode_head'] = dict(
        type='VPDDepthHead', in_channels=[16, 32, 64, 128], max_depth=10., embed_dim=16,
        feature_dim=128, num_deconv_layers=1, num_deconv_filters=(8,), fmap_border=(0, 0),
        align_corners=False, loss_decode=dict(type='SiLogLoss'))
    cfg['backbone'].update(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1), contract_dilation=False)
    model = build(cfg)
    for training in (True, False):
        run = dry_run(model, ['depth', 'backbone', 'logits'], training)
        assert run.examples['depth'].shape[:2] == (2, 1) and 'backbone' in run.taps
        assert "has no 'logits'" in run.errors['logits'] and 'depth.' in run.errors['logits']


# ---- no trace ---------------------------------------------------------------------------
class _Keeps(nn.Module):
    """Keeps something of every forward, in every way."""

    def __init__(self):
        super().__init__()
        self.cache, self.seen, self.queue = {}, [], collections.deque(maxlen=3)
        self.count, self.array, self.tensor = 0, np.zeros(3), torch.zeros(3)
        self.nested = dict(deep=[dict(values=set())])
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer('steps', torch.zeros(1))

    def forward(self, x):
        x = x * self.weight
        self.cache['features'] = x
        self.seen.append(x.shape)
        self.queue.append(1)
        self.count += 1
        self.array += 1
        self.tensor += 1
        self.steps += 1
        self.nested['deep'][0]['values'].add(float(random.random() + np.random.rand()))
        with torch.no_grad():
            self.weight.mul_(2)
        self.late = 1
        return x


@pytest.mark.parametrize('training', [True, False])
def test_nothing_that_a_forward_keeps_stays(training):
    model = build(tiny_segmentor())
    kept = model.backbone.maxpool = _Keeps()
    before, states = copy.deepcopy(vars(kept)), (random.getstate(), np.random.get_state()[1].copy())
    rng = torch.get_rng_state()
    assert not dry_run(model, ['logits', 'head'], training).errors
    for key in ('cache', 'seen', 'queue', 'count', 'nested'):
        assert getattr(kept, key) == before[key], key
    assert not hasattr(kept, 'late') and not kept.array.any() and not kept.tensor.any()
    assert kept.steps.item() == 0 and kept.weight.item() == 1
    assert random.getstate() == states[0] and (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), rng)


def test_a_model_that_kept_a_graph_from_before_is_copied_too():
    model = build(tiny_segmentor())
    model.backbone.maxpool = _Keeps()
    model(torch.randn(1, 3, 64, 64))
    assert not model.backbone.maxpool.cache['features'].is_leaf
    assert not dry_run(model, ['logits']).errors
    assert model.backbone.maxpool.count == 1


def test_a_model_that_cannot_be_copied_runs_itself():
    model = build(tiny_segmentor())
    model.lock = threading.Lock()
    before = copy.deepcopy(model.state_dict())
    assert not dry_run(model, ['logits']).errors
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize('value', [float('nan'), float('inf'), 1e30])
def test_parameters_that_nobody_has_initialised(value):
    model = build(tiny_segmentor())
    with torch.no_grad():
        model.backbone.stem[0].weight.fill_(value)
        model.decode_head.conv_seg.weight.fill_(value)
    held = model.decode_head.conv_seg.weight.clone()
    run = DryRun(model, library_of(model), 'student', ['logits'], True)
    assert run.examples['logits'].isfinite().all()
    torch.testing.assert_close(model.decode_head.conv_seg.weight, held, equal_nan=True)


def test_the_dry_run_of_a_distiller_with_a_cache_changes_no_loss():
    student = build(tiny_segmentor())
    student.backbone.maxpool = _Keeps()
    MODELS.build(tiny_distiller('kd', student=student))
    assert student.backbone.maxpool.count == 0 and not student.backbone.maxpool.cache
