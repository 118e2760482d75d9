"""interpolate over generated sizes and values, against its reference."""
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkd.ops.interpolation import (
    interpolate,
    interpolate_features_reference,
    interpolate_reference,
    interpolate_weights_reference,
)
from mmkd.ops.segments import csr_index_reference

from ..common import DEVICES, FLOATS, FUZZ, on, same_bits

AWKWARD = torch.tensor([0., -0., 1., -1., 1e30, -1e30, 1e-40, float('inf'), float('nan'), .1])


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(m=st.integers(0, 6), c=st.integers(0, 67), n=st.integers(0, 9), k=st.integers(0, 9),
       dtype=st.sampled_from(FLOATS), index=st.sampled_from([torch.int32, torch.int64]),
       awkward=st.booleans(), seed=st.integers(0, 2 ** 16))
def test_against_reference(device, m, c, n, k, dtype, index, awkward, seed):
    generator = torch.Generator().manual_seed(seed)

    def values(*shape):
        if awkward:
            return AWKWARD[torch.randint(0, len(AWKWARD), shape, generator=generator)]
        return torch.randn(shape, generator=generator)

    features = values(m, c).to(dtype)
    weights = values(n, k).to(torch.float64 if dtype == torch.float64 else torch.float32)
    indices = torch.randint(-1, m, (n, k), generator=generator, dtype=index)
    out = on(device, interpolate, features, indices, weights)
    assert out.shape == (n, c)
    assert_equal_but_for_nan_bits(out, interpolate_reference(features, indices, weights))
    order, starts = csr_index_reference(indices.reshape(-1), m)
    grad = torch.randn(n, c, generator=generator).to(dtype)
    if awkward:
        return  # a sum in another order may overflow where this one does not
    rounding = {torch.float64: 1e-13, torch.float32: 1e-5}.get(dtype, 4e-2)
    torch.testing.assert_close(
        on(device, torch.ops.mmkd.interpolate_features, grad, weights, order, starts),
        interpolate_features_reference(grad, weights, order, starts),
        rtol=rounding, atol=rounding)
    rounding = 1e-13 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(
        on(device, torch.ops.mmkd.interpolate_weights, grad, features, indices),
        interpolate_weights_reference(grad, features, indices), rtol=rounding, atol=rounding)


def assert_equal_but_for_nan_bits(a, b):
    """Which NaN comes out of inf - inf is not defined, that it is one is."""
    assert torch.equal(a.isnan(), b.isnan())
    assert same_bits(a.nan_to_num(0, 1, -1), b.nan_to_num(0, 1, -1))
