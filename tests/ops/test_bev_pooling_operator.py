"""BEV pooling as an operator of torch: which gradients, dtypes, checks, threads, compilation."""
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmkd.ops.bev_pooling import bev_pool, bev_pool_v2

from .common import DEVICES, assert_repeatable, same_bits
from .test_bev_pooling import CELLS, LOW, SIZE, index_of, scene, v2_arguments


class Calls(TorchDispatchMode):
    """Names and results of the operators called."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.seen.append((func.name(), args, result))
        return result

    def results(self, name):
        return [result for called, _, result in self.seen if called == name]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('v2', [False, True])
@pytest.mark.parametrize('which', [0, 1])
def test_only_the_gradient_that_is_needed_is_computed(device, v2, which):
    geometry, depth, features = scene(device)
    index = index_of(geometry)
    values = [depth, features]

    def gradients(wanted):
        leaves = [t.clone().requires_grad_(k in wanted) for k, t in enumerate(values)]
        out = bev_pool_v2(*leaves, *v2_arguments(index, 21)) if v2 else bev_pool(*leaves, index)
        with Calls() as calls:
            grads = torch.autograd.grad(out.square().sum(), [leaves[k] for k in wanted])
        return grads, calls.results('mmkd::bev_pool_backward')

    both, _ = gradients([0, 1])
    (alone,), (computed,) = gradients([which])
    assert same_bits(alone, both[which])
    assert computed[which].numel() > 0 and computed[1 - which].shape[0] == 0


@pytest.mark.parametrize('device', DEVICES)
def test_v2_widens_nothing(device):
    geometry, depth, features = scene(device)
    arguments = v2_arguments(index_of(geometry), 21)
    assert all(t.dtype == torch.int32 for t in arguments if isinstance(t, torch.Tensor))
    with Calls() as calls:
        bev_pool_v2(depth, features, *arguments)
    names = [name for name, _, _ in calls.seen]
    assert 'mmkd::bev_pool_ranks' in names
    assert not any('_to_copy' in name for name in names), names


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('wide', [(0,), (1,), (2, 4), (5,), (0, 1, 2, 4, 5)])
def test_v2_takes_int32_and_int64_side_by_side(device, wide):
    geometry, depth, features = scene(device)
    arguments = list(v2_arguments(index_of(geometry), 21))
    expected = bev_pool_v2(depth, features, *arguments)
    for k in wide:
        arguments[k] = arguments[k].long()
    depth.requires_grad_()
    out = bev_pool_v2(depth, features, *arguments)
    assert same_bits(out, expected)
    assert torch.autograd.grad(out.sum(), depth)[0].any()


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('v2', [False, True])
def test_gradcheck(device, v2):
    geometry, depth, features = scene(device, torch.float64, 9, (1, 2, 3, 2, 2))
    index = index_of(geometry)
    arguments = v2_arguments(index, 9)
    assert torch.autograd.gradcheck(
        (lambda d, f: bev_pool_v2(d, f, *arguments)) if v2 else
        (lambda d, f: bev_pool(d, f, index)), (depth.requires_grad_(), features.requires_grad_()))


def test_opcheck():
    geometry, depth, features = scene(shape=(1, 2, 3, 2, 4))
    index = index_of(geometry)
    torch.library.opcheck(torch.ops.mmkd.bev_pool_index.default,
                          (geometry, list(SIZE), list(LOW), list(CELLS), True, False))
    torch.library.opcheck(torch.ops.mmkd.bev_pool.default,
                          (depth.requires_grad_(), features.requires_grad_(), index.points,
                           index.pixels, index.starts, index.cells))
    ranks = v2_arguments(index, 21)
    torch.library.opcheck(torch.ops.mmkd.bev_pool_ranks.default,
                          (depth, features, *ranks[:3], *ranks[4:], 512))
    for need in ((True, False), (False, True)):
        torch.library.opcheck(
            torch.ops.mmkd.bev_pool_backward.default,
            (torch.randn(512, 21), depth.detach(), features.detach(), index.cells, None, None,
             None, *need))


@pytest.mark.parametrize('device', DEVICES)
def test_the_same_twice_and_with_any_number_of_threads(device):
    geometry, depth, features = scene(device, channels=24, shape=(2, 2, 12, 24, 40))
    weight = torch.randn(2, 24, 2, 8, 16, device=device)

    def run():
        index = index_of(geometry)
        inputs = depth.detach().requires_grad_(), features.detach().requires_grad_()
        out = bev_pool(*inputs, index)
        return [*index[:4], out.detach(), *torch.autograd.grad(out, inputs, weight)]

    assert_repeatable(run)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('v2', [False, True])
def test_compiles_in_one_graph(device, v2):
    geometry, depth, features = scene(device)
    arguments = v2_arguments(index_of(geometry), 21)

    def run(geometry, depth, features):
        if v2:
            return bev_pool_v2(depth, features, *arguments)
        return bev_pool(depth, features, index_of(geometry))

    results = []
    for function in (run, torch.compile(run, fullgraph=True, backend='aot_eager')):
        d, f = depth.detach().requires_grad_(), features.detach().requires_grad_()
        out = function(geometry, d, f)
        out.square().sum().backward()
        results.append((out.detach(), d.grad, f.grad))
    assert all(same_bits(a, b) for a, b in zip(*results, strict=True))
