"""Trainings in their own processes, several at a time, with progress and time left."""
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field

TOOLS = os.path.dirname(os.path.abspath(__file__))


@dataclass
class Job:
    """One training in its own process."""
    kind: str
    seed: int
    work_dir: str
    iters: int
    config: str
    cost: float  # rough seconds of an iteration, only to estimate the time left
    options: list = field(default_factory=list)
    process: subprocess.Popen = None
    started: float = 0.
    seconds: float = 0.

    @property
    def name(self):
        return f'{self.kind} (seed {self.seed})'

    @property
    def checkpoint(self):
        return os.path.join(self.work_dir, f'iter_{self.iters}.pth')

    def start(self, threads):
        shutil.rmtree(self.work_dir, ignore_errors=True)
        os.makedirs(self.work_dir)
        self.started = time.time()
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads),
                   OMP_WAIT_POLICY='PASSIVE')  # idle threads must not spin on a busy machine
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen(
                [sys.executable, os.path.join(TOOLS, 'train.py'), self.config, '--work-dir',
                 self.work_dir, '--cfg-options', f'randomness.seed={self.seed}', *self.options],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env)

    @property
    def log(self):
        return os.path.join(self.work_dir, 'train.log')

    def text(self):
        if not os.path.exists(self.log):
            return ''
        with open(self.log, errors='replace') as file:
            return file.read()

    def done(self):
        """Iterations done, from the log."""
        steps = re.findall(r'Iter\(train\) \[\s*(\d+)/', self.text()) if self.process else []
        return int(steps[-1]) if steps else 0

    def finish(self):
        """Called when the process has ended."""
        self.seconds = time.time() - self.started
        if self.process.returncode or not os.path.exists(self.checkpoint):
            tail = '\n'.join(self.text().splitlines()[-15:])
            raise RuntimeError(f'{self.name} failed (exit code {self.process.returncode}); the end '
                               f'of {self.log}:\n{tail}')

    def miou(self):
        values = re.findall(r'Iter\(val\).*?\bmIoU: ([\d.]+)', self.text())
        if not values:
            raise RuntimeError(f'{self.name} has no mIoU in {self.log}')
        return float(values[-1])


class Progress:
    """One line with what runs, how far it is and the time left."""

    def __init__(self, jobs):
        self.jobs, self.began, self.shown = jobs, time.time(), 0.

    def show(self, running):
        now = time.time()
        if now - self.shown < 10:
            return
        self.shown = now
        total = sum(j.iters * j.cost for j in self.jobs)
        part = sum(j.done() * j.cost for j in self.jobs) / total
        left = f'about {clock((now - self.began) / part * (1 - part))} left' if part > 0.02 \
            else 'time left not known yet'
        print(f'{clock(now - self.began)} of training, {left}: '
              + ', '.join(f'{j.name} {j.done()}/{j.iters}' for j in running), flush=True)


def clock(seconds):
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'


def run_jobs(jobs, workers, progress):
    """Run the jobs, ``workers`` at a time, sharing the cores."""
    threads = max((os.cpu_count() or 1) // workers, 1)
    waiting, running = list(jobs), []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(waiting.pop(0))
                running[-1].start(threads)
            progress.show(running)
            time.sleep(0.5)
            for job in [j for j in running if j.process.poll() is not None]:
                running.remove(job)
                job.finish()
                print(f'{job.name}: mIoU {job.miou():.2f} after {job.seconds:.0f} s',
                      flush=True)
    finally:
        for job in running:  # one failed, or Ctrl-C
            job.process.kill()
