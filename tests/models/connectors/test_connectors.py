"""Connectors against formulas written out here, independent of the modules' own forward."""
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmkd.models.connectors import (
    CBAMConnector,
    ConvConnector,
    MGDConnector,
    ProjectionConnector,
)
from mmkd.registry import MODELS

ALL = [CBAMConnector, ConvConnector, MGDConnector, ProjectionConnector]
every_class = pytest.mark.parametrize('cls', ALL, ids=[cls.__name__ for cls in ALL])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def features(n=2, c=3, h=4, w=5):
    return torch.randn(n, c, h, w, dtype=torch.float64, requires_grad=True)


def batch_norm(x, eps=1e-5):
    """Training-mode BatchNorm with weight 1 and bias 0, from its definition."""
    mean = x.mean((0, 2, 3), keepdim=True)
    var = (x - mean).square().mean((0, 2, 3), keepdim=True)
    return (x - mean) / (var + eps).sqrt()


def pointwise(x, weight):
    return torch.einsum('nchw,kc->nkhw', x, weight[:, :, 0, 0])


@every_class
def test_registered_and_built_by_name(cls):
    built = MODELS.build({'type': f'mmkd.{cls.__name__}', 'in_channels': 3, 'out_channels': 5})
    assert type(built) is cls
    assert built(torch.randn(2, 3, 4, 6)).shape == (2, 5, 4, 6)


@every_class
def test_missing_channels_are_named(cls):
    with pytest.raises(ValueError, match='in_channels=None'):
        cls(out_channels=4)
    with pytest.raises(ValueError, match='out_channels=None'):
        cls(in_channels=4)


@every_class
def test_what_is_no_map_is_told_in_words(cls):
    for shape in ((2, 20, 3), (2, 3)):
        with pytest.raises(ValueError, match=rf'{cls.__name__} takes a map \(N, C, H, W\), not'):
            cls(in_channels=3, out_channels=5)(torch.randn(shape))


@every_class
def test_every_parameter_is_trained(cls):
    module = cls(3, 5).double()
    module(features()).square().sum().backward()
    untrained = [name for name, p in module.named_parameters() if p.grad is None]
    assert not untrained


@every_class
def test_strided_input(cls):
    module = cls(3, 5).double().eval()
    x = features().transpose(2, 3)
    values = []
    for view in (x, x.contiguous()):
        torch.manual_seed(1)
        values.append(module(view))
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-14)


def test_conv_is_a_matrix_product_per_pixel():
    module, x = ConvConnector(3, 5).double(), features()
    expected = pointwise(x, module.conv.weight) + module.conv.bias[:, None, None]
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-14)


def test_conv_options():
    module, x = ConvConnector(3, 5, bias=False, norm=True, act=True).double(), features()
    assert module.conv.bias is None
    expected = batch_norm(pointwise(x, module.conv.weight)).clamp(min=0)
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-14)
    assert ConvConnector(3, 5, kernel_size=3)(torch.randn(1, 3, 4, 7)).shape == (1, 5, 4, 7)


def test_conv_only_where_channels_differ():
    x = features()
    idle = ConvConnector(3, 3, norm=True, when='unequal')
    assert idle(x) is x and not list(idle.parameters())
    assert list(ConvConnector(3, 4, when='unequal').parameters())
    assert list(ConvConnector(3, 3).parameters())


@pytest.mark.parametrize('kwargs, message', [
    ({'kernel_size': 2}, 'kernel_size=2'), ({'when': 'never'}, "when='never'"),
    ({'in_channels': 0}, 'in_channels=0')])
def test_conv_refuses(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ConvConnector(**{'in_channels': 3, 'out_channels': 4, **kwargs})


def test_projection_head():
    module, x = ProjectionConnector(3, 5).double(), features()
    convs = [layer for layer in module if isinstance(layer, nn.Conv2d)]
    assert all(conv.bias is None for conv in convs)
    hidden = batch_norm(pointwise(x, convs[0].weight)).clamp(min=0)
    torch.testing.assert_close(module(x), pointwise(hidden, convs[1].weight),
                               rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('mask, shape', [('pixel', (2, 1, 4, 5)), ('channel', (2, 6, 1, 1))])
def test_mgd_masks_the_aligned_map_and_generates(mask, shape):
    module = MGDConnector(3, 6, lambda_mgd=0.4, mask=mask).double()
    x, draw = features(), torch.rand(shape, dtype=torch.float64)
    with mock.patch.object(torch, 'rand', lambda *size, **_: draw.reshape(size)):
        result = module(x)
    dropped = draw > 0.6 if mask == 'pixel' else draw < 0.4
    assert 0 < dropped.sum() < dropped.numel()
    aligned = pointwise(x, module.align.weight) + module.align.bias[:, None, None]
    first, last = module.generation[0], module.generation[2]
    hidden = F.conv2d(aligned.masked_fill(dropped, 0), first.weight, first.bias, padding=1)
    expected = F.conv2d(hidden.clamp(min=0), last.weight, last.bias, padding=1)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('mask', ['pixel', 'channel'])
def test_mgd_masks_the_fraction_it_says(mask):
    module = MGDConnector(64, 64, lambda_mgd=0.75, mask=mask)
    kept = module.draw_mask(torch.zeros(64, 64, 8, 8)).mean().item()
    assert kept == pytest.approx(0.25, abs=0.03)
    everything = MGDConnector(8, 8, lambda_mgd=0., mask=mask).draw_mask(torch.zeros(2, 8, 4, 4))
    assert everything.min() == 1


def test_mgd_aligns_only_where_channels_differ():
    assert not list(MGDConnector(4, 4).align.parameters())
    assert MGDConnector(3, 4).align.bias is not None


@pytest.mark.parametrize('kwargs, message', [
    ({'lambda_mgd': 1.5}, 'lambda_mgd=1.5'), ({'mask': 'row'}, "mask='row'")])
def test_mgd_refuses(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MGDConnector(3, 4, **kwargs)


def gate_channels(x, pools, mlp=None):
    """x times the sigmoid of the summed poolings, sample by sample and channel by channel."""
    result = torch.empty_like(x)
    for n in range(x.shape[0]):
        flat = x[n].reshape(x.shape[1], -1)
        vectors = {'avg': flat.mean(1), 'max': flat.amax(1), 'lp': flat.square().sum(1).sqrt(),
                   'lse': flat.exp().sum(1).log()}
        logits = sum(vectors[name] if mlp is None else mlp(vectors[name]) for name in pools)
        result[n] = x[n] / (1 + (-logits).exp())[:, None, None]
    return result


def test_cbam_without_parameters():
    module, x = CBAMConnector(learnable=False, project=False), features()
    assert not list(module.parameters())
    gated = gate_channels(x.detach(), ['avg', 'max'])
    expected = gated / (1 + (-(gated.amax(1) + gated.mean(1))).exp())[:, None]
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('pools', [('avg', 'max'), ('lp', 'lse'), ('avg',)])
def test_learnable_cbam_and_projection(pools):
    module = CBAMConnector(4, 6, reduction_ratio=2, pool_types=pools, spatial_kernel=3).double()
    x = features(c=4)
    first, last = module.channel_mlp[0], module.channel_mlp[2]
    assert first.weight.shape == (2, 4) and last.weight.shape == (4, 2)

    def mlp(vector):
        return last.weight @ (first.weight @ vector + first.bias).clamp(min=0) + last.bias

    gated = gate_channels(x, pools, mlp)
    plane = torch.stack([gated.amax(1), gated.mean(1)], 1)
    logits = batch_norm(F.conv2d(plane, module.spatial[0].weight, padding=1))
    refined = gated / (1 + (-logits).exp())
    projected = batch_norm(pointwise(refined, module.project[0].weight))
    torch.testing.assert_close(module.refine(x), refined, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(module(x), projected, rtol=1e-9, atol=1e-10)
    assert module.spatial[1].momentum == 0.01 and module.project[0].bias is None


def test_cbam_projects_equal_channels_too_and_narrow_maps_keep_a_hidden_unit():
    module = CBAMConnector(4, 4)
    assert module.project is not None
    assert module.channel_mlp[0].out_features == 1
    assert CBAMConnector(4, project=False)(torch.randn(1, 4, 3, 5)).shape == (1, 4, 3, 5)


@pytest.mark.parametrize('pools', [('avg', 'max'), ('lp', 'lse')])
def test_cbam_gradient_is_finite_on_a_zero_sample_and_a_batch_of_one(pools):
    module = CBAMConnector(4, 6, pool_types=pools)
    x = torch.zeros(1, 4, 3, 5, requires_grad=True)
    module(x).square().sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize('kwargs, message', [
    ({'pool_types': ('avg', 'median')}, 'median'), ({'pool_types': ()}, 'pool_types'),
    ({'spatial_kernel': 4}, 'spatial_kernel=4'), ({'reduction_ratio': 0}, 'reduction_ratio=0')])
def test_cbam_refuses(kwargs, message):
    with pytest.raises(ValueError, match=message):
        CBAMConnector(4, 4, **kwargs)


@pytest.mark.parametrize('build', [
    lambda: ConvConnector(2, 3, kernel_size=3),
    lambda: ProjectionConnector(2, 3),
    lambda: CBAMConnector(2, 3, reduction_ratio=1, spatial_kernel=3),
    lambda: CBAMConnector(learnable=False, project=False)],
    ids=['conv', 'projection', 'cbam', 'cbam without parameters'])
def test_gradients_match_finite_differences(build):
    module = build().double()
    assert torch.autograd.gradcheck(module, features(2, 2, 3, 2))
