"""Results lie in memory as their shape says: a CUDA extension that takes them reads it so."""
import pytest

from tests.ops.common import tensors_of
from tests.ops.every_operator import CALLS, arguments, make_tensors

# Says so itself: a map (B, C, Z, Y, X) has the memory of (B, Z, Y, X, C).
CHANNELS_LAST = {'bev_pool', 'bev_pool_v2'}


@pytest.mark.parametrize('name', CALLS)
def test_results_are_contiguous(name):
    for tensor in tensors_of(CALLS[name](*arguments(CALLS[name], make_tensors()))):
        if name in CHANNELS_LAST:
            assert tensor.permute(0, 2, 3, 4, 1).is_contiguous()
        else:
            assert tensor.is_contiguous()
