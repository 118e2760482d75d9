"""draw_gaussian_heatmap and gaussian_radius, as mmdet3d's CenterHead uses them."""
import math

import numpy as np
import pytest
import torch

from mmkd.ops.heatmaps import draw_gaussian_heatmap, draw_gaussians_reference, gaussian_radius

from .common import DEVICES, assert_repeatable, on, same_bits

SHAPE, CLASSES = (20, 31), 3  # rows and columns of the map
GRID = SHAPE[::-1]
ULP = dict(rtol=1.2e-7, atol=0)  # one unit in the last place of float32


def scene(count, batch_size=3, device='cpu', seed=0):
    """Centers on and around the map, radii from 0 up; the last sample is empty."""
    g = torch.Generator().manual_seed(seed)
    centers = torch.stack([torch.randint(-4, 36, (count,), generator=g),
                           torch.randint(-4, 25, (count,), generator=g)], 1)
    radii = torch.randint(-1, 9, (count,), generator=g)
    classes = torch.randint(-1, CLASSES, (count,), generator=g)
    samples = torch.randint(0, max(1, batch_size - 1), (count,), generator=g)
    return [t.to(device) for t in (centers, radii, classes, samples)]


def slow(centers, radii, classes, samples, batch_size):
    """The definition, cell by cell, in float64."""
    heatmap = np.zeros((batch_size, CLASSES, *SHAPE))
    for (x, y), r, c, b in zip(centers.tolist(), radii.tolist(), classes.tolist(),
                               samples.tolist(), strict=True):
        if c < 0 or r < 0 or not (0 <= x < SHAPE[1] and 0 <= y < SHAPE[0]):
            continue
        sigma = (2 * r + 1) / 6
        for row in range(max(0, y - r), min(SHAPE[0], y + r + 1)):
            for column in range(max(0, x - r), min(SHAPE[1], x + r + 1)):
                squared = (row - y) ** 2 + (column - x) ** 2
                value = math.exp(-squared / (2 * sigma ** 2))
                heatmap[b, c, row, column] = max(heatmap[b, c, row, column], value)
    return torch.from_numpy(heatmap).float()


@pytest.mark.parametrize('device', DEVICES)
def test_hand_computed(device):
    centers = torch.tensor([[0, 1], [2, 1], [3, 1]], device=device)
    heatmap = draw_gaussian_heatmap(centers, torch.tensor([1, 1, 0], device=device),
                                    torch.tensor([1, 1, 0], device=device), 2, (4, 3))
    side, corner = math.exp(-2), math.exp(-4)  # sigma is a half
    expected = torch.tensor([
        [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]],
        [[side, corner, side, corner], [1, side, 1, side], [side, corner, side, corner]]])
    torch.testing.assert_close(heatmap[0].cpu(), expected, rtol=2e-7, atol=0)


@pytest.mark.parametrize('device', DEVICES)
def test_against_slow_loop(device):
    case = scene(60)
    centers, radii, classes, samples = (t.to(device) for t in case)
    got = draw_gaussian_heatmap(centers, radii, classes, CLASSES, GRID, samples, 3)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.cpu(), slow(*case, 3), **ULP)
    assert not got[2].any() and got[0].any()


def test_against_mmdet3d():
    utils = pytest.importorskip('mmdet3d.models.utils', reason='compares with mmdet3d')
    g = torch.Generator().manual_seed(0)
    centers = torch.rand(80, 2, generator=g) * torch.tensor([44., 32]) - 6
    sizes = torch.rand(80, 2, generator=g) * 30 + .1
    classes = torch.randint(0, CLASSES, (80,), generator=g)
    samples = torch.randint(0, 2, (80,), generator=g)
    expected = torch.zeros(2, CLASSES, *SHAPE)
    for k in range(80):
        length, width = sizes[k]
        radius = max(2, int(utils.gaussian_radius((width, length), min_overlap=.1)))
        center = centers[k].to(torch.int32)
        if 0 <= center[0] < SHAPE[1] and 0 <= center[1] < SHAPE[0]:
            utils.draw_heatmap_gaussian(expected[samples[k], classes[k]], center, radius)
    radii = gaussian_radius(sizes, .1).clamp(min=2)
    got = draw_gaussian_heatmap(centers, radii, classes, CLASSES, GRID, samples, 2)
    torch.testing.assert_close(got, expected, **ULP)


@pytest.mark.parametrize('device', DEVICES)
def test_kernel_against_reference(device):
    centers, radii, classes, samples = scene(200)
    planes = torch.where(classes < 0, -1, samples * CLASSES + classes)
    planes[::17] = 99  # not there: skipped, never written
    radii[::13] = 50  # over the whole map, and beyond what the CPU tabulates
    got = on(device, torch.ops.mmkd.draw_gaussians, centers, radii, planes, 9, *SHAPE)
    expected = draw_gaussians_reference(centers, radii, planes, 9, *SHAPE)
    torch.testing.assert_close(got, expected, **ULP)


@pytest.mark.parametrize('device', DEVICES)
def test_one_class_only_and_one_sample(device):
    centers, radii, classes, _ = scene(50, device=device)
    every = draw_gaussian_heatmap(centers, radii, classes, CLASSES, GRID)
    assert every.shape == (1, CLASSES, *SHAPE)
    for c in range(CLASSES):
        alone = draw_gaussian_heatmap(centers, radii, torch.where(classes == c, 0, -1), 1, GRID)
        assert same_bits(alone[:, 0], every[:, c])


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_floats_are_truncated(device, dtype):
    nan, inf = float('nan'), float('inf')
    centers = torch.tensor([[-.5, 3.75], [30.5, 2], [31, 2], [-1, 2], [nan, 2], [5, inf],
                            [9, 9], [9, 9], [9, 9], [9, 9]], device=device, dtype=dtype)
    radii = torch.tensor([2.75, 0, 5, 5, 5, 5, nan, inf, -inf, -1], device=device, dtype=dtype)
    zeros = torch.zeros(10, dtype=torch.int32, device=device)
    got = draw_gaussian_heatmap(centers, radii, zeros, 1, GRID)
    whole = torch.tensor([[0, 3], [30, 2]], device=device)
    expected = draw_gaussian_heatmap(whole, torch.tensor([2, 0], device=device), zeros[:2], 1,
                                     GRID)
    assert same_bits(got, expected) and got[0, 0, 3, 0] == 1


@pytest.mark.parametrize('device', DEVICES)
def test_huge_integers(device):
    most = 2 ** 63 - 1
    centers = torch.tensor([[most, 3], [-most, 3], [3, 3], [4, 4]], device=device)
    radii = torch.tensor([1, 1, 2 ** 40, most], device=device)
    got = draw_gaussian_heatmap(centers, radii, torch.zeros_like(radii), 1, GRID)
    assert (got == 1).all()  # the third: as wide as that, it is flat
    for radius in (most, 2 ** 40):
        got = torch.ops.mmkd.draw_gaussians(centers[:3], torch.full_like(radii[:3], radius),
                                            radii[:3] * 0, 1, *SHAPE)
        assert (got == 1).all()


@pytest.mark.parametrize('device', DEVICES)
def test_no_boxes(device):
    none = torch.zeros(0, dtype=torch.int64, device=device)
    got = draw_gaussian_heatmap(none.view(0, 2), none, none, 2, GRID, none, 3)
    assert got.shape == (3, 2, *SHAPE) and not got.any()
    assert draw_gaussian_heatmap(none.view(0, 2), none, none, 2, GRID, none).shape[0] == 1
    assert gaussian_radius(torch.zeros(0, 2, device=device)).shape == (0,)


@pytest.mark.parametrize('device', DEVICES)
def test_not_contiguous(device):
    centers, radii, classes, samples = scene(60, device=device)
    expected = draw_gaussian_heatmap(centers, radii, classes, CLASSES, GRID, samples, 3)
    views = [t.flip(0).flip(0).repeat_interleave(2, 0)[::2] for t in (radii, classes, samples)]
    got = draw_gaussian_heatmap(centers.t().contiguous().t(), *views[:2], CLASSES, GRID,
                                views[2], 3)
    assert same_bits(got, expected)


@pytest.mark.parametrize('device', DEVICES)
def test_opcheck_and_compile(device):
    centers, radii, classes, samples = scene(30, device=device)
    torch.library.opcheck(torch.ops.mmkd.draw_gaussians.default,
                          (centers, radii, classes, CLASSES, *SHAPE))

    def run(centers, sizes, classes, samples):
        radii = gaussian_radius(sizes, .1).clamp(min=1)
        return draw_gaussian_heatmap(centers, radii, classes, CLASSES, GRID, samples, 3)

    compiled = torch.compile(run, fullgraph=True, backend='aot_eager')
    sizes = torch.rand(30, 2, device=device) * 9
    for n in (30, 21):
        case = centers[:n], sizes[:n], classes[:n], samples[:n]
        assert same_bits(compiled(*case), run(*case))


@pytest.mark.parametrize('device', DEVICES)
def test_repeatable_on_any_number_of_threads(device):
    centers, radii, classes, samples = scene(300, device=device)
    assert_repeatable(lambda: draw_gaussian_heatmap(centers, radii, classes, CLASSES, (90, 90),
                                                    samples, 3))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('overlap', [.1, .5, .7, 1])
def test_radius_against_mmdet3d(dtype, overlap):
    utils = pytest.importorskip('mmdet3d.models.utils', reason='compares with mmdet3d')
    sizes = torch.rand(300, 2, dtype=dtype) * 40 + .01
    expected = torch.stack([utils.gaussian_radius((width, length), min_overlap=overlap)
                            for length, width in sizes])
    assert same_bits(gaussian_radius(sizes, overlap), expected)


@pytest.mark.parametrize('device', DEVICES)
def test_radius_of_awkward_sizes(device):
    nan, inf = float('nan'), float('inf')
    sizes = torch.tensor([[0., 1], [1, 0], [-1, -1], [nan, 1], [1, inf], [4, 4]], device=device)
    radii = gaussian_radius(sizes, .5)
    assert radii[:5].isnan().all()
    # The roots of mmdet3d for a = 1, 4 and 2, the least of them.
    roots = [(8 + math.sqrt(64 - 64 / 3)) / 2, (16 + math.sqrt(256 - 128)) / 2,
             (-8 + math.sqrt(64 + 64)) / 2]
    assert radii[5].item() == pytest.approx(min(roots), rel=1e-6)
    drawn = draw_gaussian_heatmap(torch.full((6, 2), 5, device=device), radii.clamp(min=2),
                                  torch.arange(6, device=device), 6, GRID)
    assert drawn.amax((0, 2, 3)).tolist() == [0, 0, 0, 0, 0, 1]
    half = gaussian_radius(sizes.half(), .5)
    assert half.dtype == torch.float32 and torch.equal(half[5], radii[5])
