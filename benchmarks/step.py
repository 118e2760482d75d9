"""What distillation adds to a training step, against the student and the teacher by themselves.

    python benchmarks/step.py [--quick]

PSPNet-R101 teaches PSPNet-R18 on 2 x 3 x 128 x 256, one thread, variants in turn
in one process, process CPU time, median of the ratios of each round. Writes
benchmarks/results/step.{json,md}.
"""
import argparse
import copy
import datetime
import json
import os
import platform
import statistics
import sys
import time
import warnings

os.environ.setdefault('OMP_NUM_THREADS', '1')

import torch
from mmengine.registry import init_default_scope
from torch import nn

from mmkd.apis import compose
from mmkd.models.recorder import Recorder
from mmkd.models.taps import Source
from mmkd.registry import MODELS

STUDENT = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
TEACHER = 'mmseg::pspnet/pspnet_r101-d8_4xb2-80k_cityscapes-512x1024.py'
RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'results', 'step')


def build(recipe):
    """A distiller with random weights (speed does not depend on them)."""
    cfg = compose(STUDENT, TEACHER, recipe, allow_random=True)
    cfg.model.student.pretrained = None
    return MODELS.build(cfg.model).train()


def rounds(variants, count):
    """CPU seconds of each variant in each of ``count`` rounds, variants in turn."""
    times = {name: [] for name in variants}
    for i in range(count + 1):
        for name, run in variants.items():
            start = time.process_time()
            run()
            if i:  # the first round warms up
                times[name].append(time.process_time() - start)
    return times


def ratio(times, above, below):
    """Median over the rounds of above / sum of below."""
    return statistics.median(a / sum(b) for a, *b in zip(
        times[above], *(times[name] for name in below), strict=True))


def training_step(model, batch):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def step():
        optimizer.zero_grad()
        model.parse_losses(model(*batch, mode='loss'))[0].backward()
        optimizer.step()
    return step


def measure_step(recipe, size, count):
    """Ratios of a distilled step and of the pruned teacher."""
    distiller = build(recipe)
    teacher = distiller.teachers['teacher']
    batch = teacher.library.make_batch(distiller.student, size)
    alone = copy.deepcopy(distiller.student)

    def read(prune):
        def run():
            teacher.prune = prune
            taps = teacher.read(*batch)
            teacher.prune = True
            return taps
        return run

    pruned, whole = read(True)(), read(False)()
    equal = all(torch.equal(a, b) for source in pruned
                for a, b in zip(_tensors(pruned[source]), _tensors(whole[source]), strict=True))
    times = rounds({'student': training_step(alone, batch), 'teacher': read(False),
                    'needed teacher': read(True), 'distilled': training_step(distiller, batch)},
                   count)
    return dict(recipe=recipe, needed_teacher=ratio(times, 'needed teacher', ['teacher']),
                taps_bitwise_equal=equal,
                step=ratio(times, 'distilled', ['student', 'needed teacher']),
                seconds={name: statistics.median(values) for name, values in times.items()})


def _tensors(value):
    return [value] if isinstance(value, torch.Tensor) else [t for v in value for t in _tensors(v)]


def measure_overhead(taps, count):
    """Microseconds that recording adds to a step with ``taps`` taps inside a ResNet-101's
    segmentor (whose size is what looking up a module could depend on)."""
    model = build('kd').teachers['teacher'].model
    model.tapped = nn.Sequential(*(nn.Identity() for _ in range(taps)))
    sources = [Source(f'tapped.{i}') for i in range(taps)]
    x = torch.zeros(1)

    def plain():
        for _ in range(1000):
            model.tapped(x)

    def recorded():
        for _ in range(1000):
            with Recorder(model, sources):
                model.tapped(x)

    times = rounds({'plain': plain, 'recorded': recorded}, count)
    return statistics.median(b - a for a, b in zip(
        times['plain'], times['recorded'], strict=True)) * 1000


def table(results):
    lines = ['| measured | value | target |', '|---|---|---|']
    for row in results['steps']:
        light = '<= 1.02' if row['recipe'] in ('kd', 'cwd', 'at') else ''
        equal = 'yes' if row['taps_bitwise_equal'] else 'NO'
        lines += [f"| {row['recipe']}: step / (student step + needed teacher) | "
                  f"{row['step']:.3f} | {light} |",
                  f"| {row['recipe']}: needed teacher / whole teacher | "
                  f"{row['needed_teacher']:.3f} (taps bitwise equal: {equal}) | |"]
    lines.append(f"| recording, 8 taps | {results['overhead_us']:.0f} us a step | <= 120 us |")
    lines.append(f"| backbone taps only: needed teacher / whole teacher | "
                 f"{results['backbone_only']:.3f} | <= 0.70 |")
    bf16 = results['bf16']
    lines.append(f"| teacher with dtype='bf16' / exact teacher (this CPU) | {bf16['ratio']:.2f}; "
                 f"relative error of the logits {bf16['logits_error']:.1e}, cosine of CWD's "
                 f"gradients {bf16['gradient_cosine']:.4f} | cosine >= 0.99 |")
    return '\n'.join(lines)


def backbone_only(size, count):
    """The pruned teacher's share when only its backbone is tapped."""
    distiller = build('fitnet')
    teacher = distiller.teachers['teacher']
    teacher.counts, teacher.clone = {Source('backbone'): 1}, set()
    batch = teacher.library.make_batch(distiller.student, size)

    def read(prune):
        def run():
            teacher.prune = prune
            teacher.read(*batch)
        return run
    times = rounds({'pruned': read(True), 'whole': read(False)}, count)
    return ratio(times, 'pruned', ['whole'])


def bf16_teacher(size, count):
    """Time and error of ``dtype='bf16'`` (CWD on the logits), against the exact teacher."""
    distiller = build('cwd')
    exact = distiller.teachers['teacher']
    batch = exact.library.make_batch(distiller.student, size)
    fast = copy.copy(exact)
    fast.dtype = 'bf16'
    source = next(iter(exact.counts))
    times = rounds({'exact': lambda: exact.read(*batch), 'bf16': lambda: fast.read(*batch)}, count)
    a, b = exact.read(*batch)[source][0], fast.read(*batch)[source][0].float()
    student = torch.randn_like(a)
    gradients = []
    for teacher in (a, b):
        x = student.clone().requires_grad_()
        distiller.distiller['logits'].loss(x, teacher).backward()
        gradients.append(x.grad.flatten())
    return dict(ratio=ratio(times, 'bf16', ['exact']),
                logits_error=float((a - b).norm() / a.norm()),
                gradient_cosine=float(torch.cosine_similarity(*gradients, dim=0)))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='a smoke run; writes nothing')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    init_default_scope('mmseg')
    size, count = ((64, 64), 1) if args.quick else ((128, 256), 9)
    results = dict(
        command='python ' + ' '.join(sys.argv), torch=torch.__version__,
        machine=f'{platform.machine()}, one thread', date=str(datetime.date.today()),
        size=[2, 3, *size], rounds=count,
        steps=[measure_step(recipe, size, count) for recipe in ('kd', 'cwd', 'at', 'mgd')],
        backbone_only=backbone_only(size, count), bf16=bf16_teacher(size, count),
        overhead_us=measure_overhead(8, count))
    print(table(results))
    if not args.quick:
        with open(f'{RESULTS}.json', 'w') as file:
            json.dump(results, file, indent=1)
        with open(f'{RESULTS}.md', 'w') as file:
            file.write(f"{table(results)}\n\n`{results['command']}`, torch {results['torch']}, "
                       f"{results['machine']}, {results['date']}\n")


if __name__ == '__main__':
    main()
