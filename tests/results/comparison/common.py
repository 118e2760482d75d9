"""Fake runs, and results as a comparison writes them."""
import sys
import time

from mmkd.results.comparison.scheduling import Scheduler


class FakeStep:
    def __init__(self, folder, name, code):
        self.name, self.log = name, str(folder / f'{name}.log')
        self.command = [sys.executable, '-S', '-c', code]


class FakeRun:
    """A run of steps that are lines of Python; notes when each began and ended."""
    length = 4

    def __init__(self, folder, name, *codes, needs=None, peak_memory=None, threads=None):
        self.title = self.name = name
        self.needs, self.peak_memory, self.threads, self.failure = needs, peak_memory, threads, None
        self.steps = [FakeStep(folder, f'{name}{i}', code) for i, code in enumerate(codes)]
        self.times, self.given_threads, self.codes = [], [], []

    def next_step(self):
        return self.steps[0] if self.steps else None

    def began(self, step, threads):
        self.given_threads.append(threads)
        self.times.append([time.time(), None])

    def ended(self, step, code, seconds, peak_memory):
        self.times[-1][1] = time.time()
        self.codes.append(code)
        self.steps.pop(0)
        if code:
            self.failure = f'exit code {code}'

    def done(self):
        return 0


def schedule(runs, **options):
    """Run them; (those that failed, the lines that were said)."""
    lines = []
    failed = Scheduler(runs, say=lines.append, poll=0.02, **options).run()
    return failed, lines


def most_at_a_time(runs):
    """The largest number of steps that ran at the same moment."""
    moments = [(began, 1) for run in runs for began, _ in run.times]
    moments += [(ended, -1) for run in runs for _, ended in run.times]
    count = most = 0
    for _, change in sorted(moments):
        count += change
        most = max(most, count)
    return most


def make_results(metric='mIoU', split='test', gains=(1., 2., 3.), **others):
    """What comparison.json holds, of a teacher and one recipe, with evidence."""
    def run(seed, value, trained=True):
        return dict(seed=seed, failure=None, metrics={split: {metric: value}}, iterations=40,
                    seconds_per_step=0.5, peak_memory=2 ** 29, memory_of='process',
                    log=f'x/seed{seed}/train.log' if trained else None,
                    log_sha256='1' * 64 if trained else None,
                    checkpoint=f'x/seed{seed}/iter_40.pth', checkpoint_sha256='2' * 64,
                    git_sha='3' * 40 if trained else None,
                    command='python tools/train.py x.py' if trained else '', threads=1,
                    fingerprint='4' * 64)

    def row(model, runs):
        return dict(model=model, runs=runs, parameters=12345, seconds_per_step=0.5,
                    peak_memory=2 ** 29)

    alone = [run(seed, 20. + seed) for seed in range(3)]
    taught = [run(seed, 20. + seed + gain) for seed, gain in enumerate(gains)]
    return dict(metric=metric, split=split, seeds=[0, 1, 2], student='s.py', teacher='t.py',
                command='python tools/compare.py --out x', device='a CPU, 2 cores',
                torch='2.13.0', date='2026-11-26',
                rows=[row('teacher', [run(None, 40., trained=False)]), row('student alone', alone),
                      row('cwd', taught)], **others)
