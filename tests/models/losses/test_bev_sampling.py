"""Maps seen from above are read as ``grid_sample`` reads them."""
import pytest
import torch
import torch.nn.functional as F

from mmkd.models.losses.bev.sampling import read_bilinearly

PLACES = [(0., 0.), (-1., -1.), (1., 1.), (.999, -.3), (1.1, .2), (-1.2, 1.4), (-3., 0.),
          (1e30, 0.), (.25, -.5), (-1 / 3, 1 / 7)]


def expected(x, places):
    return F.grid_sample(x[None], places[None, None], 'bilinear', 'zeros',
                         align_corners=False)[0, :, 0].T


@pytest.mark.parametrize('size', [(4, 7), (1, 1), (1, 6), (5, 1)])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_value_and_gradient_are_those_of_grid_sample(size, layout):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, *size, dtype=torch.float64, generator=generator)
    x = x.contiguous(memory_format=layout)[0].requires_grad_()
    places = torch.cat([torch.tensor(PLACES, dtype=torch.float64),
                        3 * torch.rand(40, 2, dtype=torch.float64, generator=generator) - 1.5])
    found = []
    for read in (read_bilinearly, expected):
        out = read(x, places)
        weight = torch.arange(out.numel(), dtype=out.dtype).view_as(out).cos()
        found.append((out, *torch.autograd.grad((out * weight).sum(), x)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_x_and_y_are_not_exchanged():
    x = torch.arange(12.).view(1, 3, 4)  # cell (y, x) holds 4 y + x
    places = torch.tensor([[2 * (1 + .5) / 4 - 1, 2 * (2 + .5) / 3 - 1]])  # middle of x = 1, y = 2
    assert read_bilinearly(x, places).tolist() == [[pytest.approx(9., abs=1e-5)]]


@pytest.mark.parametrize('size, count', [((0, 3, 4), 5), ((2, 3, 4), 0)])
def test_no_channel_and_no_place(size, count):
    x = torch.zeros(size, requires_grad=True)
    out = read_bilinearly(x, torch.zeros(count, 2))
    out.sum().backward()
    assert out.shape == (count, size[0]) and not x.grad.any()
