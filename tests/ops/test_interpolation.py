"""interpolate and three_interpolate: weighted sums of rows and their gradients."""
import numpy as np
import pytest
import torch

from mmkd.ops import interpolation
from mmkd.ops.interpolation import (
    interpolate,
    interpolate_features_reference,
    interpolate_reference,
    interpolate_weights_reference,
    three_interpolate,
)
from mmkd.ops.segments import csr_index_reference

from .common import DEVICES, FLOATS, assert_repeatable, on, same_bits


def make_case(m=20, c=70, n=50, k=4, dtype=torch.float32, device='cpu', index=torch.int64):
    generator = torch.Generator().manual_seed(m + c + n + k)
    features = torch.randn(m, c, generator=generator).to(dtype)
    indices = torch.randint(-1, m, (n, k), generator=generator, dtype=index) if m else \
        torch.full((n, k), -1, dtype=index)
    weights = torch.randn(n, k, generator=generator, dtype=torch.float64)
    weights = weights if dtype == torch.float64 else weights.float()
    return features.to(device), indices.to(device), weights.to(device)


def slow(features, indices, weights):
    """The definition, in float64 numpy."""
    f, i, w = (t.cpu().double().numpy() if t.is_floating_point() else t.cpu().numpy()
               for t in (features, indices, weights))
    out = np.zeros((len(i), f.shape[1]))
    for n in range(i.shape[0]):
        for k in range(i.shape[1]):
            if i[n, k] >= 0:
                out[n] += w[n, k] * f[i[n, k]]
    return torch.from_numpy(out)


def test_hand_computed():
    features = torch.tensor([[1., 2.], [10., 20.], [100., 200.]], requires_grad=True)
    indices = torch.tensor([[0, 2], [-1, 0]])
    weights = torch.tensor([[.5, 2.], [7., 3.]], requires_grad=True)
    out = interpolate(features, indices, weights)
    assert out.tolist() == [[200.5, 401.], [3., 6.]]
    out.backward(torch.tensor([[1., 0.], [1., 10.]]))
    assert features.grad.tolist() == [[3.5, 30.], [0., 0.], [2., 0.]]
    assert weights.grad.tolist() == [[1., 100.], [0., 21.]]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('index', [torch.int32, torch.int64])
@pytest.mark.parametrize('c', [1, 64, 70, 130])
def test_kernels_against_reference(device, dtype, index, c):
    features, indices, weights = make_case(c=c, dtype=dtype, index=index)
    out = on(device, torch.ops.mmkd.interpolate, features, indices, weights)
    assert same_bits(out, interpolate_reference(features, indices, weights))
    order, starts = csr_index_reference(indices.reshape(-1), len(features))
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).to(out)
    to_features = on(device, torch.ops.mmkd.interpolate_features, grad, weights, order, starts)
    expected = interpolate_features_reference(grad, weights, order, starts)
    # Sums of about ten terms of size 1, perhaps added in another order.
    rounding = {torch.float64: 1e-14, torch.float32: 4e-6}.get(dtype, 2e-2)
    torch.testing.assert_close(to_features, expected, rtol=rounding, atol=rounding)
    to_weights = on(device, torch.ops.mmkd.interpolate_weights, grad, features, indices)
    expected = interpolate_weights_reference(grad, features, indices)
    assert to_weights.dtype == weights.dtype
    rounding = 1e-13 if dtype == torch.float64 else 4e-5
    torch.testing.assert_close(to_weights, expected, rtol=rounding, atol=rounding)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype,rounding', [(torch.float32, 1e-6), (torch.float64, 1e-14),
                                            (torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
def test_against_a_loop(device, dtype, rounding):
    case = make_case(dtype=dtype, device=device)
    out = interpolate(*case)
    assert out.dtype == dtype and out.device.type == device
    torch.testing.assert_close(out.cpu().double(), slow(*case), rtol=rounding, atol=4 * rounding)


@pytest.mark.parametrize('device', DEVICES)
def test_gradients(device):
    features, indices, weights = make_case(6, 9, 7, 3, torch.float64, device)
    assert torch.autograd.gradcheck(
        lambda f, w: interpolate(f, indices, w),
        (features.requires_grad_(), weights.requires_grad_()))
    cube = torch.randn(2, 5, 6, dtype=torch.float64, device=device, requires_grad=True)
    index = torch.randint(-1, 6, (2, 4, 3), device=device)
    scale = torch.rand(2, 4, 3, dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, w: three_interpolate(f, index, w), (cube, scale))


@pytest.mark.parametrize('device', DEVICES)
def test_only_one_side_needs_a_gradient(device):
    features, indices, weights = make_case(device=device)
    both = [t.clone().requires_grad_() for t in (features, weights)]
    interpolate(both[0], indices, both[1]).sum().backward()
    alone = features.clone().requires_grad_()
    interpolate(alone, indices, weights).sum().backward()
    assert same_bits(alone.grad, both[0].grad)
    alone = weights.clone().requires_grad_()
    interpolate(features, indices, alone).sum().backward()
    assert same_bits(alone.grad, both[1].grad)


def test_weights_keep_their_dtype():
    features, indices, weights = make_case(dtype=torch.float16)
    weights = weights.double().requires_grad_()
    interpolate(features, indices, weights).float().sum().backward()
    assert weights.grad.dtype == torch.float64
    with pytest.raises(ValueError, match='weights must have shape'):
        interpolate(features, indices, weights[:, :2])


@pytest.mark.parametrize('device', DEVICES)
def test_opcheck(device):
    features, indices, weights = make_case(5, 6, 7, 3, device=device)
    order, starts = csr_index_reference(indices.reshape(-1), 5)
    grad = torch.randn(7, 6, device=device)
    torch.library.opcheck(torch.ops.mmkd.interpolate,
                          (features.requires_grad_(), indices, weights.requires_grad_()))
    torch.library.opcheck(torch.ops.mmkd.interpolate_features,
                          (grad, weights.detach(), order, starts))
    torch.library.opcheck(torch.ops.mmkd.interpolate_weights, (grad, features.detach(), indices))


@pytest.mark.parametrize('device', DEVICES)
def test_repeatable_and_compiled(device):
    features, indices, weights = make_case(50, 64, 3000, 8, device=device)

    def run(f, w):
        f, w = f.clone().requires_grad_(), w.clone().requires_grad_()
        out = interpolate(f, indices, w)
        return out, *torch.autograd.grad(out.square().sum(), (f, w))

    assert_repeatable(lambda: run(features, weights))
    compiled = torch.compile(lambda f, w: interpolate(f, indices, w), fullgraph=True,
                             backend='aot_eager')
    f, w = features.clone().requires_grad_(), weights.clone().requires_grad_()
    out = compiled(f, w)
    results = (out, *torch.autograd.grad(out.square().sum(), (f, w)))
    for a, b in zip(results, run(features, weights), strict=True):
        assert same_bits(a, b)


@pytest.mark.parametrize('device', DEVICES)
def test_minus_one_and_nan(device):
    features, _, _ = make_case(3, 4, device=device)
    features[1] = float('nan')
    indices = torch.tensor([[-1, 0], [-1, -1], [1, 0]], device=device)
    weights = torch.tensor([[float('nan'), 1], [float('inf'), 2], [1, 1]], device=device)
    f, w = features.clone().requires_grad_(), weights.clone().requires_grad_()
    out = interpolate(f, indices, w)
    assert same_bits(out[0], features[0]) and same_bits(out[1], torch.zeros_like(out[1]))
    assert out[2].isnan().all()
    out.sum().backward()
    assert w.grad[0, 0] == 0 and (w.grad[1] == 0).all() and (f.grad[2] == 0).all()
    assert not f.grad.isnan().any()


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('m,c,n,k', [(0, 4, 5, 2), (4, 0, 5, 2), (4, 3, 0, 2), (4, 3, 5, 0),
                                     (0, 0, 0, 0), (0, 4, 0, 3)])
def test_empty(device, m, c, n, k):
    features, indices, weights = make_case(m, c, n, k, device=device)
    f, w = features.requires_grad_(), weights.requires_grad_()
    out = interpolate(f, indices, w)
    out.sum().backward()
    assert out.shape == (n, c) and f.grad.shape == (m, c) and w.grad.shape == (n, k)
    if m == 0 or k == 0:
        assert (out == 0).all()
    cube = three_interpolate(features.detach().t()[None], indices[None], weights.detach()[None])
    assert cube.shape == (1, c, n)


@pytest.mark.parametrize('device', DEVICES)
def test_wild_indices_reach_no_memory(device):
    features, _, weights = make_case(3, 4, 2, 2, device=device)
    wild = torch.tensor([[3, -7], [2 ** 62, -2 ** 63]], device=device)
    with pytest.raises(ValueError, match=r'indices must lie in \[-1, 3\)'):
        interpolate(features, wild, weights)
    with pytest.raises(ValueError, match=r'indices must lie in \[-1, 3\)'):
        three_interpolate(features.t()[None], wild[None], weights[None])
    # torch.ops takes anything, and must not read or write beyond a tensor.
    assert (torch.ops.mmkd.interpolate(features, wild, weights) == 0).all()
    assert (torch.ops.mmkd.interpolate_weights(weights.new_ones(2, 4), features, wild)
            == 0).all()


def test_refuses():
    features, indices, weights = make_case()
    with pytest.raises(ValueError, match='features must have shape'):
        interpolate(features[0], indices, weights)
    with pytest.raises(ValueError, match='indices must be torch.int32|indices must be int32'):
        interpolate(features, indices.float(), weights)
    with pytest.raises(ValueError, match='features must be float32'):
        interpolate(features.long(), indices, weights)
    with pytest.raises(ValueError, match='different devices'):
        interpolate(features, indices.to('meta'), weights)
    with pytest.raises(ValueError, match='indices must have shape'):
        three_interpolate(torch.zeros(2, 3, 4), torch.zeros(1, 5, 3).long(), torch.zeros(1, 5, 3))


@pytest.mark.parametrize('device', DEVICES)
def test_strides_do_not_matter(device):
    features, indices, weights = make_case(device=device)
    expected = interpolate(features, indices, weights)
    out = interpolate(features.t().contiguous().t(), indices.t().contiguous().t(),
                      weights.repeat_interleave(2, 1)[:, ::2])
    assert same_bits(out, expected)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype,rounding', [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_three_interpolate_against_a_loop(device, dtype, rounding):
    features = torch.randn(3, 7, 11, dtype=dtype, device=device)
    indices = torch.randint(0, 11, (3, 20, 3), dtype=torch.int32, device=device)
    weights = torch.rand(3, 20, 3, dtype=dtype, device=device)
    out = three_interpolate(features, indices, weights)
    assert out.shape == (3, 7, 20) and out.is_contiguous() and out.dtype == dtype
    for b in range(3):
        torch.testing.assert_close(out[b].t().cpu().double(),
                                   slow(features[b].t(), indices[b], weights[b]),
                                   rtol=rounding, atol=4 * rounding)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('which', [0, 1])
def test_only_the_gradient_that_is_needed_is_computed(device, which, monkeypatch):
    features, indices, weights = make_case(device=device)
    values = [features, weights]
    both = [t.clone().requires_grad_() for t in values]
    grad = torch.randn(50, 70, device=device)
    expected = torch.autograd.grad(interpolate(both[0], indices, both[1]), both, grad)[which]
    alone = [t.clone().requires_grad_(k == which) for k, t in enumerate(values)]
    out = interpolate(alone[0], indices, alone[1])
    unused = ('_interpolate_weights', '_interpolate_features')[which]
    monkeypatch.setattr(interpolation, unused, None)  # fails when it is called
    assert same_bits(torch.autograd.grad(out, alone[which], grad)[0], expected)
