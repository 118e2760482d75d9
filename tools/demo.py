"""The main job on small data: a teacher, the student alone, and the student it teaches.

    make demo        (or: python tools/demo.py [--recipe mgd] [--seeds 0 1 2])

Draws street scenes in Cityscapes' layout, trains the teacher, then the student alone
and the distilled student with the same seeds, data order and schedule, evaluates
all of them with mmseg's IoUMetric, and writes results.md, results.json and
comparison.png into work_dirs/demo. Every training is a `tools/train.py` run, as a
user would start it; its log is in its own folder.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

import _common

from mmkd.datasets import write_cityscapes
from mmkd.utils.checkpoint import safe_load
from mmkd.utils.configs import read_config
from mmkd.visualization import draw_comparison

TOOLS = os.path.dirname(os.path.abspath(__file__))
CONFIGS = os.path.join(os.path.dirname(TOOLS), 'configs', 'demo')
#: rough seconds of one iteration on one core, only to estimate the time left
COST = dict(teacher=0.25, student=0.06, distilled=0.11)  # student runs: two at a time


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='work_dirs/demo', metavar='DIR', help='output folder')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], metavar='S',
                        help='seeds of the student runs (default: 0 1 2)')
    parser.add_argument('--recipe', metavar='NAME',
                        help='distil with this recipe instead of the config\'s')
    parser.add_argument('--train', type=int, default=400, help='training pictures')
    parser.add_argument('--val', type=int, default=100, help='validation pictures')
    parser.add_argument('--scale', type=float, default=1.,
                        help='multiply every training length, e.g. 0.02 for a smoke run')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


@dataclass
class Job:
    """One training in its own process."""
    kind: str
    seed: int
    work_dir: str
    iters: int
    options: list = field(default_factory=list)
    config: str = ''
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
        total = sum(j.iters * COST[j.kind] for j in self.jobs)
        part = sum(j.done() * COST[j.kind] for j in self.jobs) / total
        left = f'about {clock((now - self.began) / part * (1 - part))} left' if part > 0.02 \
            else 'time left not known yet'
        print(f'demo: {clock(now - self.began)} of training, {left}: '
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
                print(f'demo: {job.name}: mIoU {job.miou():.2f} after {job.seconds:.0f} s',
                      flush=True)
    finally:
        for job in running:  # one failed, or Ctrl-C
            job.process.kill()


def make_jobs(args, data_root):
    def job(kind, seed):
        cfg = read_config(os.path.join(CONFIGS, f'{kind}.py'))
        iters = max(int(cfg.max_iters * args.scale), 2)
        options = [f'{loader}.dataset.data_root={data_root}'
                   for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')]
        options += [f'train_cfg.max_iters={iters}', f'train_cfg.val_interval={iters}',
                    f'default_hooks.checkpoint.interval={iters}']
        options += [f'param_scheduler.1.end={iters}'] if args.scale == 1 else [
            'param_scheduler=[]', 'default_hooks.logger.interval=1']
        return Job(kind, seed, os.path.join(args.out, f'{kind}_seed{seed}'), iters, options,
                   config=os.path.join(CONFIGS, f'{kind}.py'))

    teacher = job('teacher', 0)
    students = []
    for seed in args.seeds:
        students += [job('student', seed), job('distilled', seed)]
        students[-1].options.append(f'model.teacher.checkpoint={teacher.checkpoint}')
    if args.recipe:
        config = write_recipe_config(args)
        for distilled in students[1::2]:
            distilled.config = config
    return teacher, students


def write_recipe_config(args):
    """The demo's distill config with another recipe."""
    from mmkd.apis import compose
    paths = [os.path.join(CONFIGS, f'{kind}.py') for kind in ('student', 'teacher')]
    cfg = compose(*paths, args.recipe, teacher_checkpoint='set below')
    path = os.path.join(args.out, f'distilled_{os.path.basename(args.recipe)}')
    path += '' if path.endswith('.py') else '.py'
    cfg.dump(path)
    return path


def summarise(teacher, students):
    """Rows of the table, one per model."""
    rows = []
    for kind, jobs in (('teacher', [teacher]), ('student', students[0::2]),
                       ('distilled', students[1::2])):
        weights = safe_load(jobs[0].checkpoint)['state_dict']
        parameters = sum(v.numel() for k, v in weights.items() if not k.startswith('distiller.')
                         and k.rpartition('.')[2] in ('weight', 'bias'))
        mious = [job.miou() for job in jobs]
        rows.append(dict(
            model=kind, seeds=[job.seed for job in jobs], mious=mious,
            mean=statistics.mean(mious),
            spread=statistics.stdev(mious) if len(mious) > 1 else None,
            parameters=parameters, seconds=statistics.mean(job.seconds for job in jobs)))
    rows[2]['gains'] = [d - s for d, s in zip(rows[2]['mious'], rows[1]['mious'], strict=True)]
    return rows


def table(rows):
    """The rows as a Markdown table."""
    names = dict(teacher='teacher', student='student alone', distilled='student distilled')
    lines = ['| model | mIoU, mean ± std | each seed | gain, mean (each) | parameters | seconds |',
             '|---|---|---|---|---|---|']
    for row in rows:
        spread = f" ± {row['spread']:.2f}" if row['spread'] is not None else ' (one run)'
        gains = row.get('gains')
        gain = '' if gains is None else (f'{statistics.mean(gains):+.2f} ('
                                         + ', '.join(f'{g:+.2f}' for g in gains) + ')')
        lines.append(f"| {names[row['model']]} | {row['mean']:.2f}{spread} | "
                     + ', '.join(f'{m:.2f}' for m in row['mious'])
                     + f" | {gain} | {row['parameters']:,} | {row['seconds']:.0f} |")
    return '\n'.join(lines)


def main(args):
    args.out = os.path.abspath(args.out)
    began = time.time()
    print(f'demo: drawing {args.train} + {args.val} street scenes', flush=True)
    data_root = write_cityscapes(os.path.join(args.out, 'data', 'street_scenes'),
                                 train=args.train, val=args.val, width=256, height=128, seed=0)
    teacher, students = make_jobs(args, os.path.abspath(data_root))
    progress = Progress([teacher, *students])
    run_jobs([teacher], 1, progress)
    run_jobs(students, min(os.cpu_count() or 1, len(students)), progress)
    rows = summarise(teacher, students)
    with open(os.path.join(args.out, 'results.json'), 'w') as file:
        json.dump(rows, file, indent=1)
    with open(os.path.join(args.out, 'results.md'), 'w') as file:
        file.write(table(rows) + '\n')
    picture = draw_comparison(
        os.path.join(args.out, 'comparison.png'), data_root,
        {'teacher': (os.path.join(CONFIGS, 'teacher.py'), teacher.checkpoint),
         'student alone': (os.path.join(CONFIGS, 'student.py'), students[0].checkpoint),
         # the distilled checkpoint is a plain student's: its own config loads it
         'student distilled': (os.path.join(CONFIGS, 'student.py'), students[1].checkpoint)})
    print(f'\n{table(rows)}\n\nresults: {args.out}/results.md, results.json\npicture: {picture}\n'
          f'total: {clock(time.time() - began)} minutes', flush=True)


if __name__ == '__main__':
    _common.run(main, parse_args())
