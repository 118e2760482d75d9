"""torch.compile(fullgraph=True) of every operator, forward and backward."""
import pytest
import torch

from mmkd.ops import voxel_index
from tests.ops.common import DEVICES, same_bits, tensors_of
from tests.ops.every_operator import CALLS, RANGE, VOXEL, arguments, make_tensors


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


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', CALLS)
def test_every_operator_compiles_into_one_graph(name, device):
    """The same bits as without, for two sizes of all that belongs to points."""
    torch.compiler.reset()
    compiled = torch.compile(CALLS[name], fullgraph=True, backend='aot_eager', dynamic=True)
    for count in (40, 23):
        tensors = arguments(CALLS[name], make_tensors(device, count))
        expected = results(CALLS[name], tensors)
        found = results(compiled, tensors)
        assert expected
        for a, b in zip(found, expected, strict=True):
            assert same_bits(a, b)
