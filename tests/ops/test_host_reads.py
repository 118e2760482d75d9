"""No operator waits for a device without need: reads are counted here, on the CPU."""
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import mmkd.ops as ops
from mmkd.ops.checks import check_values
from tests.ops.common import tensors_of
from tests.ops.every_operator import CALLS, NO_OPERATORS, UNSIZED, arguments, make_tensors

aten = torch.ops.aten
# Whose result or its size is known to the host when they return.
WAITING = {aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.argwhere,
           aten.masked_select, aten._unique, aten._unique2, aten.unique_dim,
           aten.unique_consecutive, aten.unique_dim_consecutive, aten.bincount,
           aten._assert_scalar, aten.segment_reduce}
# What takes the numbers of a CPU tensor past the dispatcher, and what copies numbers to a device.
FUNCTIONS = {torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.cpu,
             torch.tensor, torch.as_tensor, torch.from_numpy, torch.asarray}


class _Dispatched(TorchDispatchMode):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        packet = func.overloadpacket
        by_mask = packet in (aten.index, aten.index_put, aten.index_put_) and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        unsized = packet == aten.repeat_interleave and kwargs.get('output_size') is None
        if packet in WAITING or by_mask or unsized:
            self.seen.append(str(func))
        return func(*args, **kwargs)


class _Called(TorchFunctionMode):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in FUNCTIONS:
            self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def reads(run):
    """What ``run()`` does that waits for a device."""
    seen = []
    with _Called(seen), _Dispatched(seen):
        run()
    return seen


def forward_and_backward(call, tensors):
    leaves = [t for t in tensors if t.requires_grad]
    out = [t for t in tensors_of(call(*tensors)) if t.requires_grad]
    if out:
        torch.autograd.grad(out, leaves, [torch.ones_like(t) for t in out], allow_unused=True)


def test_reads_are_seen():
    """Each way that a host can read is counted, so that the tests below can fail."""
    ones = torch.ones(3)
    for way in (lambda: ones.sum().item(), lambda: int(ones.sum()), lambda: ones.tolist(),
                lambda: bool(ones.any()), lambda: ones[ones > 0], lambda: ones.nonzero(),
                lambda: torch.where(ones > 0), lambda: torch.equal(ones, ones),
                lambda: ones.unique(), lambda: ones.unique(dim=0), lambda: ones.cpu(),
                lambda: ones[:ones.long().sum()], lambda: torch.tensor([1, 2]),
                lambda: ones.repeat_interleave(ones.long()), lambda: ones.numpy(),
                lambda: [x + 1 for x in range(ones.long().sum())],
                lambda: ones.clone().index_put_((ones > 0,), ones.sum()),
                lambda: ones.long().bincount(), lambda: ones.masked_select(ones > 0)):
        assert reads(way), way
    assert not reads(lambda: (ones + 1)[ones.long()].cumsum(0))


def test_every_operator_is_tried():
    assert {name.split(',')[0] for name in CALLS} | NO_OPERATORS == set(ops.__all__)


@pytest.mark.parametrize('name', CALLS)
def test_with_sizes_given_and_checks_off_nothing_is_read(name):
    tensors = arguments(CALLS[name], make_tensors())
    with check_values(False):
        assert reads(lambda: forward_and_backward(CALLS[name], tensors)) == []


@pytest.mark.parametrize('name', CALLS)
def test_the_checks_read_once(name):
    tensors = arguments(CALLS[name], make_tensors())
    seen = reads(lambda: forward_and_backward(CALLS[name], tensors))
    # In these the voxel index is built too, of a batch index that the caller gives.
    calls = 2 if name in ('devoxelize_trilinear', 'padded_members') else 1
    assert seen in ([], ['tolist'] * calls)


@pytest.mark.parametrize('checked', [True, False])
@pytest.mark.parametrize('name', UNSIZED)
def test_a_batch_size_that_is_not_given_is_one_read_with_the_checks(name, checked):
    tensors = arguments(UNSIZED[name], make_tensors())
    with check_values(checked):
        assert reads(lambda: forward_and_backward(UNSIZED[name], tensors)) == ['tolist']
