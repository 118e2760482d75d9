"""The dry run finds what it should and leaves no trace."""
import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mmkd.models.dry_run import DryRun
from mmkd.models.libraries import library_of
from mmkd.models.taps import Source
from mmkd.registry import MODELS
from tests.helpers import build, random_bn, tiny_distiller, tiny_segmentor

TAPS = ['logits', 'head', 'backbone', 'backbone_pre_relu']


def dry_run(model, wanted=TAPS, training=True):
    return DryRun(model, library_of(model), 'student' if training else 'teacher', wanted, training)


@pytest.fixture
def model():
    return random_bn(build(tiny_segmentor('ASPPHead', aux=1)))


@pytest.mark.parametrize('training', [True, False])
def test_no_trace(model, training):
    model.train()
    model.backbone.layer1.eval()  # flags that no train(True) would bring back
    model.decode_head.dropout.eval()
    flags = {name: module.training for name, module in model.named_modules()}
    weights = copy.deepcopy(model.state_dict())
    requires_grad = [p.requires_grad for p in model.parameters()]
    run = dry_run(model, training=training)
    assert not run.errors
    assert {name: module.training for name, module in model.named_modules()} == flags
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key]), key
    assert [p.requires_grad for p in model.parameters()] == requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert all('forward' not in module.__dict__ for module in model.modules())


def test_a_buffer_that_is_replaced_comes_back():
    model = build(tiny_segmentor('EMAHead', ema_channels=8, num_bases=4, num_stages=2))
    module = model.decode_head.ema_module
    model.train()
    before, value = module.bases, module.bases.clone()
    run = dry_run(model, ['logits'])
    assert not run.errors
    assert module.bases is before and torch.equal(before, value)


def test_building_a_distiller_draws_no_random_number_and_does_not_touch_the_student(model):
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    MODELS.build(tiny_distiller('mgd', student=model))
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_finds_taps_channels_counts_and_overwritten(model):
    run = dry_run(model, [*TAPS, 'decode_head.conv_seg:input', 'backbone.layer4.1.relu[0]',
                          'decode_head.aspp_modules.0', 'decode_head.aspp_modules.0'])
    assert not run.errors
    assert run.taps['logits'].source == Source('decode_head.conv_seg')
    shapes = {name: tuple(value.shape) for name, value in run.examples.items()}
    at = run.size // 8
    assert shapes['logits'] == (2, 4, at, at) and shapes['head'] == (2, 8, at, at)
    assert shapes['backbone'] == shapes['backbone_pre_relu'] == (2, 64, at, at)
    assert run.counts[Source('backbone.layer4.1.relu')] == 2, 'a ResNet block calls it twice'
    # the in-place ReLU overwrites what it is given
    assert Source('backbone.layer4.1.relu', True) in run.clone
    assert Source('decode_head.conv_seg') not in run.clone


def test_what_does_not_work_is_told_by_tap(model):
    run = dry_run(model, ['logits', 'decode_head.conv_sge', 'bad tap', 'backbone[7]',
                          'decode_head.aspp_modules', 'decode_head.loss_decode',
                          'decode_head.image_pool[0]'])
    assert set(run.taps) == {'logits'}
    errors = run.errors
    assert "did you mean 'decode_head.conv_seg'" in errors['decode_head.conv_sge']
    assert 'semantic names here: ' in errors['decode_head.conv_sge']
    assert 'is not a tap' in errors['bad tap']
    assert 'there are 4 items' in errors['backbone[7]']
    assert 'not one tensor' in errors['decode_head.aspp_modules']
    assert 'of shape (), no map' in errors['decode_head.loss_decode']
    assert 'drop the [0]' in errors['decode_head.image_pool[0]']


def test_never_fires(model):
    model.decode_head.spare = nn.Conv2d(1, 1, 1)
    assert 'never fires in a forward of the student' in dry_run(
        model, ['decode_head.spare']).errors['decode_head.spare']
    # a teacher runs as in inference: its auxiliary head only where a tap asks for it
    run = dry_run(model, ['auxiliary_head.conv_seg', 'decode_head.loss_decode'], training=False)
    assert set(run.taps) == {'auxiliary_head.conv_seg'}
    assert 'never fires in a forward of the teacher' in run.errors['decode_head.loss_decode']


def test_a_model_that_needs_more_pixels_gets_them(model):
    kept = model.backbone.forward

    def picky(x):
        if x.shape[-1] < 200:
            raise RuntimeError('too small')
        return kept(x)
    model.backbone.forward = picky
    assert dry_run(model, ['logits']).size == 256
    model.backbone.forward = lambda x: 1 / 0
    with pytest.raises(ValueError, match='64 to 512 pixels: ZeroDivisionError'):
        dry_run(model, ['logits'])
    assert model.training


def test_nothing_wanted_runs_nothing(model):
    model.backbone.forward = lambda x: 1 / 0
    assert dry_run(model, []).counts == {}


def test_syncbn_inside_a_process_group(tmp_path):
    """A distiller is built on the CPU after the process group: there SyncBN itself refuses."""
    model = build(tiny_segmentor(norm='SyncBN'))
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match='SyncBatchNorm expected'):
            model.train()(torch.randn(2, 3, 64, 64))
        run = dry_run(model, ['logits'])
        assert not run.errors and dist.is_initialized()
    finally:
        dist.destroy_process_group()
