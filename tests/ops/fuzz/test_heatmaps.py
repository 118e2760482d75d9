"""draw_gaussian_heatmap over generated boxes, against the reference of its kernel."""
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkd.ops.heatmaps import draw_gaussian_heatmap, draw_gaussians_reference

from ..common import DEVICES, FUZZ, on

AWKWARD = torch.tensor([0., -0., -.99, -1., 1e-40, 2.5, 30., 1e9, -1e30, 3e38, 2. ** 53, 2. ** 63,
                        float('inf'), -float('inf'), float('nan')], dtype=torch.float64)
EXTREMES = torch.tensor([0, 1, -1, 31, 32, 33, 2 ** 31, 2 ** 62, 2 ** 63 - 1, -2 ** 63])


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(count=st.integers(0, 30), height=st.integers(1, 40), width=st.integers(1, 70),
       planes=st.integers(1, 5), awkward=st.booleans(), largest=st.sampled_from([3, 31, 80]),
       seed=st.integers(0, 2 ** 16))
def test_kernel_against_reference(device, count, height, width, planes, awkward, largest, seed):
    g = torch.Generator().manual_seed(seed)
    centers = torch.randint(-3, max(height, width) + 3, (count, 2), generator=g)
    radii = torch.randint(-1, largest, (count,), generator=g)
    plane = torch.randint(-1, planes + 1, (count,), generator=g)
    if awkward:
        for t in (centers, radii, plane):
            values = EXTREMES[torch.randint(0, len(EXTREMES), t.shape, generator=g)]
            t.copy_(torch.where(torch.rand(t.shape, generator=g) < .2, values, t))
    case = centers, radii, plane
    got = on(device, torch.ops.mmkd.draw_gaussians, *case, planes, height, width)
    expected = draw_gaussians_reference(*case, planes, height, width)
    torch.testing.assert_close(got, expected, rtol=1.2e-7, atol=0)


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(count=st.integers(0, 20), dtype=st.sampled_from([torch.float32, torch.float64,
                                                        torch.float16, torch.bfloat16]),
       batch_size=st.integers(1, 3), seed=st.integers(0, 2 ** 16))
def test_any_float_is_truncated_or_skipped(device, count, dtype, batch_size, seed):
    g = torch.Generator().manual_seed(seed)
    x, y, radii = AWKWARD[torch.randint(0, len(AWKWARD), (3, count), generator=g)].to(dtype)
    batch_index = torch.randint(0, batch_size, (count,), generator=g)
    got = draw_gaussian_heatmap(torch.stack([x, y], 1).to(device), radii.to(device),
                                batch_index.to(device) * 0, 1, (9, 8), batch_index.to(device),
                                batch_size)
    peaks = torch.zeros(batch_size, 1, 8, 9)
    for k in range(count):
        a, b, r = x[k].item(), y[k].item(), radii[k].item()
        if -1 < a < 9 and -1 < b < 8 and -1 < r < 2 ** 53:
            peaks[batch_index[k], 0, int(b), int(a)] = 1
    assert torch.equal((got == 1).cpu() & (peaks == 1), peaks == 1)
    assert torch.equal(got.amax((1, 2, 3)).cpu(), peaks.amax((1, 2, 3)))
