"""Sums of weighted rows in chunks: long segments, the same bits whatever computes them."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmkd.ops import has_kernel, segment_mean
from mmkd.ops.interpolation import interpolate
from mmkd.ops.reductions import gather_segments, segment_sum, segment_sum_reference
from mmkd.ops.segments import csr_index

from .common import DEVICES, FLOATS, assert_repeatable, same_bits, threads

CHUNK = 256  # kChunk of csrc/kernels/weighted_rows.h
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 0, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 3,
         5 * CHUNK, 0, 5 * CHUNK + 7, 2]
ROUNDING = {torch.float32: 2e-5, torch.float64: 1e-13, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def long_segments(c, dtype=torch.float64, device='cpu', none=300, sizes=SIZES):
    """Rows in any order, ``none`` of them of no segment; (rows, ids)."""
    generator = torch.Generator().manual_seed(c)
    ids = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    ids = torch.cat([ids, torch.full((none,), -1)])
    ids = ids[torch.randperm(len(ids), generator=generator)]
    return torch.randn(len(ids), c, generator=generator).to(device, dtype), ids.to(device)


def in_chunks(terms):
    """The order of addition that the kernels promise, in the accumulator's dtype."""
    sums = []
    for chunk in terms.split(CHUNK):
        sums.append(terms.new_zeros(terms.shape[1]))
        for term in chunk:
            sums[-1] = sums[-1] + term
    total = sums[0]
    for more in sums[1:]:
        total = total + more
    return total


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('c', [1, 5, 64])
@pytest.mark.parametrize('mean', [False, True])
def test_long_segments_equal_the_definition(device, dtype, c, mean):
    rows, ids = long_segments(c, dtype, device)
    out = segment_sum(rows, ids, *csr_index(ids, len(SIZES)), mean)
    for s, size in enumerate(SIZES):
        expected = rows[ids == s].double().sum(0) / (max(size, 1) if mean else 1)
        scale = 1 if mean else max(size, 1) ** .5
        torch.testing.assert_close(out[s].double(), expected, rtol=ROUNDING[dtype],
                                   atol=ROUNDING[dtype] * scale)


@pytest.mark.skipif(not has_kernel('segment_sum'), reason='no compiled kernels: the reference '
                    'adds without chunks')
@pytest.mark.parametrize('dtype', FLOATS)
def test_the_order_of_addition_is_the_documented_one(dtype):
    rows, ids = long_segments(17, dtype)
    out = segment_sum(rows, ids, *csr_index(ids, len(SIZES)), False)
    wide = rows.double() if dtype == torch.float64 else rows.float()
    for s in range(len(SIZES)):
        assert same_bits(out[s], in_chunks(wide[ids == s]).to(dtype)), SIZES[s]


@pytest.mark.skipif(not has_kernel('segment_sum'), reason='no compiled kernels: the reference '
                    'adds without chunks')
def test_wild_rows_keep_their_place_in_a_chunk_and_add_nothing():
    """What torch.ops.mmkd.* can be handed: every third row of a long segment is none."""
    rows, ids = long_segments(8, torch.float32, none=0, sizes=[3 * CHUNK + 5, 40])
    order, starts = csr_index(ids, 2)
    wild = torch.where(torch.arange(len(order)) % 3 == 0, 2 ** 40, order)
    out = torch.ops.mmkd.segment_sum(rows, ids, wild, starts, False)
    for s in range(2):
        members = wild[starts[s]:starts[s + 1]]
        sums = [in_chunks(rows[m[m < len(rows)]]) for m in members.split(CHUNK)]
        total = sums[0]
        for more in sums[1:]:
            total = total + more
        assert same_bits(out[s], total)


@pytest.mark.parametrize('device', DEVICES)
def test_long_segments_of_the_gradients(device):
    """A row used by thousands of outputs; the adjoint of gather_segments."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 9, dtype=torch.float64, generator=generator).to(device)
    indices = torch.randint(-1, 3, (1500, 3), generator=generator).to(device)
    weights = torch.randn(1500, 3, dtype=torch.float64, generator=generator).to(device)
    grad = torch.randn(1500, 9, dtype=torch.float64, generator=generator).to(device)
    leaf = features.requires_grad_()
    interpolate(leaf, indices, weights).backward(grad)
    use = torch.nn.functional.one_hot(indices + 1, 5)[..., 1:].to(weights)
    torch.testing.assert_close(leaf.grad, torch.einsum('nk,nkm,nc->mc', weights, use, grad),
                               rtol=1e-12, atol=1e-12)
    assert not leaf.grad[3].any()

    rows, ids = long_segments(6, device=device)
    values = torch.randn(len(SIZES), 6, dtype=torch.float64, device=device, requires_grad=True)
    gather_segments(values, ids, *csr_index(ids, len(SIZES)), False).backward(rows)
    expected = torch.zeros_like(values).index_add(0, ids[ids >= 0], rows[ids >= 0])
    torch.testing.assert_close(values.grad, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('k', [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_more_neighbours_than_a_chunk(device, k):
    generator = torch.Generator().manual_seed(k)
    features = torch.randn(50, 20, generator=generator, dtype=torch.float64).to(device)
    indices = torch.randint(-1, 50, (3, k), generator=generator).to(device)
    weights = torch.randn(3, k, generator=generator, dtype=torch.float64).to(device)
    f, w = features.requires_grad_(), weights.requires_grad_()
    out = interpolate(f, indices, w)
    picked = torch.where(indices[..., None] >= 0, f[indices.clamp(min=0)], 0)
    expected = (w[..., None] * picked).sum(1)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn_like(out)
    for a, b in zip(torch.autograd.grad(out, (f, w), grad),
                    torch.autograd.grad(expected, (f, w), grad), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', FLOATS)
def test_any_number_of_threads_gives_the_same_bits(device, dtype):
    rows, ids = long_segments(64, dtype, device)
    assert_repeatable(lambda: segment_mean(rows, ids, len(SIZES)))


@pytest.mark.parametrize('device', DEVICES)
def test_what_is_not_finite(device):
    """0 * inf is NaN, as in torch; it stays in its segment, and a row of -1 reaches nothing."""
    inf, nan = torch.inf, torch.nan
    rows = torch.ones(2 * CHUNK + 9, 3, device=device)
    ids = torch.arange(len(rows), device=device) % 2
    rows[CHUNK + 4, 1], rows[-1, 2] = nan, inf
    ids[-1] = -1
    out = segment_mean(rows, ids, 2)
    assert out[0].isnan().tolist() == [False, True, False] and (out[1] == 1).all()
    features = torch.tensor([[inf], [2.]], device=device)
    indices = torch.tensor([[0, 1], [1, 1], [-1, 1]], device=device)
    weights = torch.tensor([[0., 1.], [nan, 1.], [nan, 1.]], device=device)
    out = interpolate(features, indices, weights).flatten()
    assert out[:2].isnan().all() and out[2] == 2


@pytest.mark.skipif(not has_kernel('segment_sum'), reason='no compiled kernels to compare with '
                    'the emulated ones')
@pytest.mark.skipif(bool(os.environ.get('MMKD_OPS')), reason='compares the CPU kernels with the '
                    'emulated ones, which MMKD_OPS replaces')
def test_cuda_sources_give_the_bits_of_the_cpu(tmp_path):
    """The kernels of csrc/cuda, emulated: one process for each library, the same results."""
    root = str(Path(__file__).resolve().parents[2])
    for choice in ('', 'emulated'):
        subprocess.run([sys.executable, '-W', 'error::RuntimeWarning', '-m',
                        'tests.ops.weighted_rows_bits', str(tmp_path / f'results{choice}.pt')],
                       check=True, cwd=root,
                       env=os.environ | {'MMKD_OPS': choice, 'PYTHONPATH': root})
    cpu, emulated = (torch.load(tmp_path / f'results{c}.pt') for c in ('', 'emulated'))
    assert list(cpu) == list(emulated) and len(cpu) > 20
    for name, value in cpu.items():
        assert same_bits(value, emulated[name]), name


def test_the_reference_agrees_within_rounding():
    rows, ids = long_segments(16, torch.float32)
    index = csr_index(ids, len(SIZES))
    with threads(2):
        out = segment_sum(rows, ids, *index, True)
    torch.testing.assert_close(out, segment_sum_reference(rows, ids, *index, True), rtol=1e-5,
                               atol=1e-6)
