"""Time, memory and gradient error of mmkd's losses against plain dense formulations.

    python benchmarks/losses.py                 # the whole table, some minutes on one core
    python benchmarks/losses.py --quick         # small sizes, to see that it runs
    python benchmarks/losses.py --device cuda

Time: forward + backward, ours and dense alternating in one process on one thread, process
CPU time (CUDA events on a GPU), median of the paired ratios. Memory: a fresh process each,
the peak resident set minus what was resident before the call (max_memory_allocated on a
GPU). Gradient error: relative to the dense formulation in float64.
"""
import argparse
import copy
import json
import statistics
import subprocess
import sys

import dense_losses
import torch
from common import folder_of, head, options, peak_mib, seconds, write
from loss_table import render

from mmkd.models.losses import CIRKDMemoryLoss, CIRKDMiniBatchLoss, CWDLoss, KDLoss

# name: (batch, student channels, teacher channels, H, W, rounds)
CASES = {
    'KD 19ch': (2, 19, 19, 64, 128, 41),
    'CWD 19ch': (2, 19, 19, 64, 128, 41),
    'CWD 512ch': (2, 512, 512, 64, 128, 9),
    'CIRKD mini-batch': (2, 128, 256, 64, 128, 3),
    'CIRKD memory': (2, 256, 256, 64, 128, 5),
}
GROWTH = [(2, 32, 64), (2, 64, 64), (2, 64, 128), (1, 128, 128)]
GROWTH_CASE = 'CIRKD mini-batch'


def make_losses(name, quick=False):
    """(ours, dense) callables of (student, teacher, labels)."""
    if name.startswith('KD'):
        ours, dense = KDLoss(), dense_losses.kd
    elif name.startswith('CWD'):
        ours, dense = CWDLoss(tau=4.), dense_losses.cwd
    elif name == 'CIRKD mini-batch':
        ours, dense = CIRKDMiniBatchLoss(), dense_losses.cirkd_minibatch
    else:
        ours = CIRKDMemoryLoss(19, 256, pixel_memory_size=2000 if quick else 20000)
        return ours, dense_losses.CIRKDMemory(ours)
    return (lambda s, t, labels: ours(s, t)), (lambda s, t, labels: dense(s, t))


def make_inputs(case, device, dtype=torch.float32):
    """Random student and teacher features and labels for (batch, Cs, Ct, H, W)."""
    batch, cs, ct, h, w = case[:5]
    torch.manual_seed(0)
    student = torch.randn(batch, cs, h, w).to(device, dtype).requires_grad_()
    teacher = torch.randn(batch, ct, h, w).to(device, dtype)
    labels = torch.randint(0, 19, (batch, h, w)).to(device)
    labels[:, :2] = 255
    return student, teacher, labels


def step(loss, inputs):
    """Forward and backward; returns the loss value."""
    inputs[0].grad = None
    value = loss(*inputs)
    value = sum(value.values()) if isinstance(value, dict) else value
    value.backward()
    return value.detach()


def on(device, losses):
    return [x.to(device) if isinstance(x, torch.nn.Module) else x for x in losses]


def measure_time(name, case, device, quick):
    ours, dense = on(device, make_losses(name, quick))
    inputs = make_inputs(case, device)
    # The first round pays for lazy set-up and is dropped.
    rounds = [[seconds(lambda loss=loss: step(loss, inputs), device) for loss in (ours, dense)]
              for _ in range(case[5] + 1)][1:]
    return dict(ratio=statistics.median(a / b for a, b in rounds), rounds=len(rounds),
                ours_ms=statistics.median(a for a, _ in rounds) * 1000,
                dense_ms=statistics.median(b for _, b in rounds) * 1000)


def measure_error(name, case, device):
    """Relative L2 error of the float32 gradients; CIRKD at most 32x64 (float64 is huge)."""
    ours, dense = on(device, make_losses(name, quick=True))
    exact = copy.deepcopy(dense)  # a bank starts from the same queues in all three
    if isinstance(exact, torch.nn.Module):
        exact = exact.double()
    if 'CIRKD' in name:
        case = (*case[:3], min(case[3], 32), min(case[4], 64))
    grads = []
    for loss, dtype in ((ours, torch.float32), (dense, torch.float32), (exact, torch.float64)):
        inputs = make_inputs(case, device, dtype)
        torch.manual_seed(1)  # and draws the same slots
        step(loss, inputs)
        grads.append(inputs[0].grad.double())
    ours32, dense32, exact = grads
    return dict(ours=float((ours32 - exact).norm() / exact.norm()),
                dense=float((dense32 - exact).norm() / exact.norm()), size=list(case[3:5]))


def peak_memory(name, which, case, device, quick):
    """Peak memory in MiB of one step of ours (which = 0) or dense (1) in this process."""
    loss = on(device, make_losses(name, quick))[which]
    step(loss, make_inputs((*case[:3], 4, 4), device))  # loads libraries and kernels
    inputs = make_inputs(case, device)
    return peak_mib(lambda: step(loss, inputs), device)


def measure_memory(name, case, device, quick):
    """Peak memory of ours and dense, each in a fresh process (in this one if ``quick``)."""
    peaks = []
    for which in (0, 1):
        arguments = [name, which, case, device, quick]
        if quick:
            peaks.append(peak_memory(*arguments))
            continue
        run = subprocess.run([sys.executable, __file__, '--child', json.dumps(arguments)],
                             check=True, capture_output=True, text=True)
        peaks.append(float(run.stdout))
    return dict(ours_mib=peaks[0], dense_mib=peaks[1], ratio=peaks[0] / max(peaks[1], 1e-9))


def main():
    parser = options(__doc__, 'losses', 'small sizes, all in one process')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.child:
        print(peak_memory(*json.loads(args.child)))
        return

    report = dict(head(args.device), quick=args.quick, growth_case=GROWTH_CASE, cases={},
                  growth=[])
    cases = {k: v for k, v in CASES.items() if not args.only or args.only in k}
    for name, case in cases.items():
        if args.quick:
            case = (*case[:3], 16, 16, 3)
        print(f'{name} ...', file=sys.stderr, flush=True)
        report['cases'][name] = dict(
            size='x'.join(map(str, (case[0], case[1], *case[3:5]))),
            time=measure_time(name, case, args.device, args.quick),
            memory=measure_memory(name, case, args.device, args.quick),
            gradient_error=measure_error(name, case, args.device))
    for batch, h, w in ([] if args.quick or GROWTH_CASE not in cases else GROWTH):
        print(f'growth {batch}x{h}x{w} ...', file=sys.stderr, flush=True)
        case = (batch, *CASES[GROWTH_CASE][1:3], h, w)
        report['growth'].append(dict(size=f'{batch}x{h}x{w}', pixels=batch * h * w,
                                     **measure_memory(GROWTH_CASE, case, args.device, False)))
    print(render(report))
    out = folder_of(args)
    if out:
        write(report, render(report), out, 'losses', args.device)


if __name__ == '__main__':
    main()
