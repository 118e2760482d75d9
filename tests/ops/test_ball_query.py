"""ball_query: mmcv's rule, by one center and one point at a time."""
import numpy as np
import pytest
import torch

from mmkd.ops import neighbours
from mmkd.ops.neighbours import ball_query, ball_query_reference

from .common import DEVICES, FLOATS, assert_repeatable, on, same_bits


def slow(low, high, samples, xyz, centers):
    """The loop of mmcv's CUDA kernel, in numpy."""
    kind = np.float64 if xyz.dtype == torch.float64 else np.float32
    xyz, centers = (t.cpu().double().numpy().astype(kind) for t in (xyz, centers))
    out = np.zeros((*centers.shape[:2], samples), np.int32)
    with np.errstate(all='ignore'):
        low, high = np.float32(low) * np.float32(low), np.float32(high) * np.float32(high)
        for b in range(len(centers)):
            for q, (cx, cy, cz) in enumerate(centers[b]):
                found = 0
                for k, (x, y, z) in enumerate(xyz[b]):
                    square = (cx - x) * (cx - x) + (cy - y) * (cy - y) + (cz - z) * (cz - z)
                    if square == 0 or (square >= low and square < high):
                        if found == 0:
                            out[b, q, :] = k
                        out[b, q, found] = k
                        found += 1
                        if found == samples:
                            break
    return torch.from_numpy(out)


def make_clouds(b, n, q, dtype=torch.float32, device='cpu'):
    generator = torch.Generator().manual_seed(b + n + q)
    xyz, centers = (torch.rand(b, m, 3, generator=generator).to(device, dtype) for m in (n, q))
    if n:
        centers[:, ::3] = xyz[:, :1]  # some lie on a point
    return xyz, centers


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('low,high,samples', [(0, .3, 8), (.2, .5, 16), (.1, .12, 4),
                                              (0, 1e-6, 3), (0, 9, 5), (.3, 1e30, 400)])
def test_against_a_loop(device, dtype, low, high, samples):
    xyz, centers = make_clouds(2, 300, 13, dtype, device)
    out = ball_query(low, high, samples, xyz, centers)
    assert out.dtype == torch.int32
    assert torch.equal(out.cpu(), slow(low, high, samples, xyz, centers))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_against_reference(device, dtype):
    xyz, centers = make_clouds(2, 3000, 200, dtype)
    for low, high, samples in [(0., .04, 32), (.25, .36, 3000), (0., .0001, 1)]:
        assert torch.equal(on(device, torch.ops.mmkd.ball_query, centers, xyz, low, high, samples),
                           ball_query_reference(centers, xyz, low, high, samples))


@pytest.mark.parametrize('device', DEVICES)
def test_hand_computed(device):
    xyz = torch.tensor([[[5., 0, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]]],
                       device=device)
    centers = torch.tensor([[[0., 0, 0], [50, 0, 0], [1, 0, 0]]], device=device)
    assert ball_query(1, 2, 4, xyz, centers).tolist() == [
        [[1, 2, 4, 1], [0, 0, 0, 0], [1, 2, 3, 4]]]


def test_reference_does_not_depend_on_its_tiles(monkeypatch):
    xyz, centers = make_clouds(2, 50, 30)
    expected = ball_query_reference(centers, xyz, 0., .1, 6)
    monkeypatch.setattr(neighbours, 'TILE_BYTES', 7 * 50 * 64)
    assert torch.equal(ball_query_reference(centers, xyz, 0., .1, 6), expected)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('b,n,q', [(2, 0, 3), (2, 5, 0), (0, 5, 3), (0, 0, 0), (1, 1, 1)])
def test_empty(device, b, n, q):
    xyz, centers = make_clouds(b, n, q, device=device)
    out = ball_query(0, .5, 4, xyz, centers)
    assert out.shape == (b, q, 4) and (out == 0).all()


@pytest.mark.parametrize('device', DEVICES)
def test_not_finite(device):
    xyz, centers = make_clouds(1, 40, 9, device=device)
    xyz[0, 0], xyz[0, 1, 2], xyz[0, 2, 1] = float('nan'), float('inf'), -float('inf')
    xyz[0, 3], centers[0, 5], centers[0, 6, 0] = 1e38, float('nan'), float('inf')
    out = ball_query(0, .7, 8, xyz, centers)
    assert torch.equal(out.cpu(), slow(0, .7, 8, xyz, centers))
    assert (out[0, 5:7] == 0).all() and not (out[0, 7:] < 4).any()


@pytest.mark.parametrize('device', DEVICES)
def test_repeatable_compiled_strides_and_opcheck(device):
    xyz, centers = make_clouds(2, 2000, 150, device=device)
    assert_repeatable(lambda: ball_query(0, .2, 16, xyz, centers))
    expected = ball_query(0, .2, 16, xyz, centers)
    compiled = torch.compile(lambda x, c: ball_query(0, .2, 16, x, c), fullgraph=True,
                             backend='aot_eager')
    assert same_bits(compiled(xyz, centers), expected)
    assert same_bits(ball_query(0, .2, 16, xyz.mT.contiguous().mT, centers.mT.contiguous().mT),
                     expected)
    torch.library.opcheck(torch.ops.mmkd.ball_query,
                          (centers[:, :5], xyz[:, :20], 0., .3, 4))


def test_refuses():
    xyz, centers = make_clouds(2, 5, 3)
    for low, high in [(1, 1), (2, 1), (-1, 1), (0, float('inf')), (0, float('nan'))]:
        with pytest.raises(ValueError, match='radii'):
            ball_query(low, high, 4, xyz, centers)
    with pytest.raises(ValueError, match='sample_num must be'):
        ball_query(0, 1, 0, xyz, centers)
    with pytest.raises(ValueError, match='points must have shape'):
        ball_query(0, 1, 4, xyz[0], centers)
    with pytest.raises(ValueError, match='centers must have shape'):
        ball_query(0, 1, 4, xyz, centers[:1])
    with pytest.raises(ValueError, match='different dtypes'):
        ball_query(0, 1, 4, xyz, centers.double())
    with pytest.raises(ValueError, match='different devices'):
        ball_query(0, 1, 4, xyz, centers.to('meta'))
