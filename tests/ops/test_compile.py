"""torch.compile(fullgraph=True) of every operator, forward and backward."""
import pytest
import torch

from mmkd.ops import segment_mean
from tests.ops.common import DEVICES, same_bits, tensors_of
from tests.ops.every_operator import CALLS, UNSIZED, arguments, make_tensors


def results(call, tensors):
    """The tensors that a call returns and the gradients of its arguments."""
    leaves = [t for t in tensors if t.requires_grad]
    out = tensors_of(call(*tensors))
    differentiable = [t for t in out if t.requires_grad]
    if not differentiable:
        return out
    return out + [g for g in torch.autograd.grad(
        differentiable, leaves, [t.detach().sin() for t in differentiable], allow_unused=True)
        if g is not None]


def check(call, device):
    """The same bits in one graph, for two sizes of all that belongs to points."""
    torch.compiler.reset()
    compiled = torch.compile(call, fullgraph=True, backend='aot_eager', dynamic=True)
    for count in (40, 23):
        tensors = arguments(call, make_tensors(device, count))
        expected = results(call, tensors)
        assert expected
        for a, b in zip(results(compiled, tensors), expected, strict=True):
            assert same_bits(a, b)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', CALLS)
def test_every_operator_compiles_into_one_graph(name, device):
    check(CALLS[name], device)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', UNSIZED)
def test_a_batch_of_unknown_size_compiles_too(name, device):
    check(UNSIZED[name], device)


def test_an_index_out_of_range_is_skipped_in_a_graph():
    wrong, right = torch.tensor([0, 7, -9, 2]), torch.tensor([0, -1, -1, 2])
    rows = torch.randn(4, 2)
    compiled = torch.compile(lambda i: segment_mean(rows, i, 3), fullgraph=True, backend='eager')
    assert same_bits(compiled(wrong), segment_mean(rows, right, 3))
