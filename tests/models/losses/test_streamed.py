"""The tiled row-softmax KL and the CIRKD mini-batch loss built on it."""
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from mmkd.models.losses import CIRKDMiniBatchLoss
from mmkd.models.losses.relation import streamed
from mmkd.models.losses.relation.streamed import bank_kl, self_kl


def units(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64),
                       dim=-1).to(dtype)


def dense_bank(s, t, keys, tau):
    q, p = (s @ keys.T / tau).log_softmax(1), (t @ keys.T / tau).softmax(1)
    return (p * (p.log() - q)).sum()


def dense_self(s, t, tau):
    return sum(dense_bank_pair(s[i], s[j], t[i], t[j], tau)
               for i in range(len(s)) for j in range(len(s)))


def dense_bank_pair(s_i, s_j, t_i, t_j, tau):
    q, p = (s_i @ s_j.T / tau).log_softmax(1), (t_i @ t_j.T / tau).softmax(1)
    return (p * (p.log() - q)).sum()


def check(loss, expected, student, rtol=1e-10):
    assert loss.item() == pytest.approx(expected.item(), rel=rtol, abs=1e-13)
    grad, = torch.autograd.grad(loss, student)
    expected_grad, = torch.autograd.grad(expected, student)
    torch.testing.assert_close(grad, expected_grad, rtol=rtol, atol=1e-12)


# 1 byte: one row or a 1 x 1 tile; 800: sides that leave a rest; the last: one tile for all.
@pytest.mark.parametrize('tile', [1, 800, 2000, 10 ** 9])
@pytest.mark.parametrize('rows', [1, 13])
def test_bank_kl_is_the_dense_formula(monkeypatch, tile, rows):
    monkeypatch.setattr(streamed, 'TILE_BYTES_CPU', tile)
    student = units(rows, 6).requires_grad_()
    teacher, keys = units(rows, 6, seed=1), units(29, 6, seed=2)
    check(bank_kl(student, teacher, keys, 0.1, 0.3),
          0.3 * dense_bank(student, teacher, keys, 0.1), student)


@pytest.mark.parametrize('tile', [1, 200, 8 * 49, 10 ** 9])
@pytest.mark.parametrize('images, pixels', [(1, 1), (1, 13), (3, 7), (2, 14)])
def test_self_kl_is_the_dense_formula(monkeypatch, tile, images, pixels):
    monkeypatch.setattr(streamed, 'TILE_BYTES_CPU', tile)
    student = units(images, pixels, 4).requires_grad_()
    teacher = units(images, pixels, 6, seed=1)
    check(self_kl(student, teacher, 0.1, 0.3), 0.3 * dense_self(student, teacher, 0.1), student)


def test_gradcheck(monkeypatch):
    monkeypatch.setattr(streamed, 'TILE_BYTES_CPU', 8 * 9)
    student, teacher = units(2, 4, 3).requires_grad_(), units(2, 4, 5, seed=1)
    assert torch.autograd.gradcheck(lambda s: self_kl(s, teacher, 0.5), student)
    rows, keys = student.detach()[0].requires_grad_(), units(7, 3, seed=2)
    target = units(4, 3, seed=3)
    assert torch.autograd.gradcheck(lambda s: bank_kl(s, target, keys, 0.5), rows)


@pytest.mark.parametrize('tau', [0.02, 0.005])
def test_small_temperatures_switch_to_float64(tau):
    student = units(2, 9, 4, dtype=torch.float32).requires_grad_()
    teacher = units(2, 9, 4, seed=1, dtype=torch.float32)
    expected = dense_self(student.double(), teacher.double(), tau)
    loss = self_kl(student, teacher, tau)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    grad, = torch.autograd.grad(loss, student)
    assert grad.dtype == torch.float32
    torch.testing.assert_close(grad, torch.autograd.grad(expected, student)[0])


def test_float32_error_is_that_of_the_dense_formula():
    exact = units(2, 300, 16).requires_grad_()
    teacher = units(2, 300, 24, seed=1)
    student = exact.detach().float().requires_grad_()
    want, = torch.autograd.grad(dense_self(exact, teacher, 0.1), exact)
    dense, = torch.autograd.grad(dense_self(student, teacher.float(), 0.1), student)
    ours, = torch.autograd.grad(self_kl(student, teacher.float(), 0.1), student)
    assert (ours - want).norm() <= 1.5 * (dense - want).norm()


def feature_pair(dtype=torch.float64, size=(5, 7), seed=3):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(2, 4, *size, generator=generator, dtype=torch.float64)
    teacher = torch.randn(2, 6, *size, generator=generator, dtype=torch.float64)
    return student.to(dtype).requires_grad_(), teacher.to(dtype)


def dense_minibatch(student, teacher, tau, pooling):
    if pooling:
        student, teacher = (F.avg_pool2d(x, 2, 2, ceil_mode=True) for x in (student, teacher))
    s, t = (F.normalize(x, dim=1).flatten(2).transpose(1, 2) for x in (student, teacher))
    return dense_self(s, t, tau) / (s.shape[0] ** 2 * s.shape[1])


@pytest.mark.parametrize('pooling', [False, True])
@pytest.mark.parametrize('tau', [0.1, 1.])
def test_minibatch_is_the_formula(tau, pooling):
    student, teacher = feature_pair()
    check(CIRKDMiniBatchLoss(tau, pooling)(student, teacher),
          dense_minibatch(student, teacher, tau, pooling), student)


def test_minibatch_gradcheck():
    student, teacher = feature_pair(size=(2, 2))
    assert torch.autograd.gradcheck(lambda s: CIRKDMiniBatchLoss(0.5)(s, teacher), student)


def test_minibatch_resizes_the_student():
    student, _ = feature_pair(size=(3, 4))
    _, teacher = feature_pair(size=(5, 7))
    resized = F.interpolate(student, size=(5, 7), mode='bilinear', align_corners=False)
    check(CIRKDMiniBatchLoss()(student, teacher), dense_minibatch(resized, teacher, 0.1, False),
          student)


def test_minibatch_identical_features_give_zero():
    student, _ = feature_pair(torch.float32)
    loss = CIRKDMiniBatchLoss()(student, student.detach() * 2)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-6


def test_minibatch_zero_pixels_get_no_gradient():
    student, teacher = feature_pair(torch.float16)
    with torch.no_grad():
        student[0], student[1, :, 2], teacher[1] = 0, 0, 0
    loss = CIRKDMiniBatchLoss()(student, teacher)
    grad, = torch.autograd.grad(loss, student)
    assert loss.isfinite() and grad.isfinite().all()
    assert grad[0].abs().max() == 0 and grad[1, :, 2].abs().max() == 0 and grad[1].abs().max() > 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_minibatch_half_precision_and_autocast(dtype):
    student, teacher = feature_pair(dtype)
    wide = student.detach().float().requires_grad_()
    expected = CIRKDMiniBatchLoss()(wide, teacher.float())
    with torch.autocast('cpu', torch.bfloat16):
        loss = CIRKDMiniBatchLoss()(student, teacher)
    assert loss.dtype == torch.float32 and torch.equal(loss, expected)
    grad, = torch.autograd.grad(loss, student)
    torch.testing.assert_close(grad, torch.autograd.grad(expected, wide)[0].to(dtype))


@pytest.mark.parametrize('tau', [0, -1, 0.001])
def test_minibatch_rejects_bad_temperatures(tau):
    with pytest.raises(ValueError, match='temperature'):
        CIRKDMiniBatchLoss(tau)


def test_minibatch_rejects_unequal_batches():
    with pytest.raises(ValueError, match='batch'):
        CIRKDMiniBatchLoss()(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 4, 4))


PEAK = '''
import sys
from pathlib import Path
import torch
import torch.nn.functional as F
from mmkd.models.losses import CIRKDMiniBatchLoss
torch.set_num_threads(1)

def dense(s, t):
    s, t = (F.normalize(x, dim=1).flatten(2) for x in (s, t))
    q, p = (F.softmax(x[0].t() @ x[0] / 0.1, 1) for x in (s, t))
    return F.kl_div(q.log(), p, reduction='batchmean')

def status(key):
    return int(Path('/proc/self/status').read_text().split(key + ':')[1].split()[0])

def peak(loss, side):
    student = torch.randn(1, 16, side, side, requires_grad=True)
    teacher = torch.randn(1, 16, side, side)
    Path('/proc/self/clear_refs').write_text('5')
    before = status('VmRSS')
    loss(student, teacher).backward()
    return status('VmHWM') - before

for loss in CIRKDMiniBatchLoss(), dense:
    peak(loss, 8)
    print(peak(loss, 32), peak(loss, 64))
'''


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_memory_grows_linearly():
    run = subprocess.run([sys.executable, '-c', PEAK], check=True, capture_output=True, text=True)
    (_, ours), (small, dense) = (map(int, line.split()) for line in run.stdout.splitlines())
    # Four times the pixels. One map of 4096 x 4096 floats is 64 MiB; three work tiles and
    # the features are below 10. The dense formulation shows that the probe sees a map.
    assert ours < 16 * 1024
    assert dense > 128 * 1024 and dense > 8 * small
