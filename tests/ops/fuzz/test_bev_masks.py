"""The box test of the kernels over generated boxes, against their reference."""
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkd.ops.bev_masks import bev_mask_reference, boxes_to_bev_mask

from ..common import DEVICES, FUZZ, on

AWKWARD = torch.tensor([0., -0., .5, -.5, 1., 2., 1e9, -1e30, 3e38, 1e-40, float('inf'),
                        float('nan')], dtype=torch.float64)


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(count=st.integers(0, 40), width=st.integers(1, 40), height=st.integers(1, 70),
       batch_size=st.integers(1, 3), double=st.booleans(), awkward=st.booleans(),
       spread=st.sampled_from([.01, 1., 30., 1e6]), shift=st.sampled_from([0., 1e5, -1e7]),
       seed=st.integers(0, 2 ** 16))
def test_kernel_against_reference(device, count, width, height, batch_size, double, awkward,
                                  spread, shift, seed):
    g = torch.Generator().manual_seed(seed)
    boxes = torch.randn(count, 6, generator=g, dtype=torch.float64) * spread
    boxes[:, :2] += shift
    yaw = torch.randn(count, generator=g, dtype=torch.float64) * 3
    boxes[:, 4], boxes[:, 5] = yaw.cos(), yaw.sin()
    if awkward:
        replaced = torch.rand(count, 4, generator=g) < .2
        values = AWKWARD[torch.randint(0, len(AWKWARD), (count, 4), generator=g)]
        boxes[:, :4] = torch.where(replaced, values, boxes[:, :4])
    boxes = boxes.to(torch.float64 if double else torch.float32)
    batch_index = torch.randint(-1, batch_size + 1, (count,), generator=g)
    xs = (torch.linspace(-2, 2, width, dtype=torch.float64) * spread + shift).to(boxes)
    ys = (torch.linspace(-2, 2, height, dtype=torch.float64) * spread + shift).to(boxes)
    for index in (batch_index, None):
        got = on(device, torch.ops.mmkd.bev_mask, boxes, index, xs, ys, batch_size)
        assert torch.equal(got, bev_mask_reference(boxes, index, xs, ys, batch_size))


@pytest.mark.parametrize('device', DEVICES)
@FUZZ
@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=4), awkward=st.booleans(),
       at=st.sampled_from(['center', 'corner']), seed=st.integers(0, 2 ** 16))
def test_a_list_is_its_samples_one_by_one(device, counts, awkward, at, seed):
    g = torch.Generator().manual_seed(seed)
    parts = [torch.randn(k, 7, generator=g) * 3 for k in counts]
    if awkward:
        parts = [torch.where(torch.rand(p.shape, generator=g) < .1, torch.inf, p) for p in parts]
    parts = [p.to(device) for p in parts]
    bounds, grid = (-4, -3, 0, 4, 3, 1), (9, 5)
    got = boxes_to_bev_mask(parts, bounds, grid, at=at)
    begin = 0
    for sample, part in enumerate(parts):
        alone = boxes_to_bev_mask(part, bounds, grid, at=at).instance[0]
        assert torch.equal(got.instance[sample], torch.where(alone < 0, -1, alone + begin))
        begin += len(part)
