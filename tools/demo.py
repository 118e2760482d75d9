"""The main job on small data: a teacher, the student alone, and the student it teaches.

    make demo        (or: python tools/demo.py [--recipe mgd] [--seeds 0 1 2])

Draws street scenes in Cityscapes' layout, trains the teacher, then the student alone
and the distilled student with the same seeds, data order and schedule, evaluates
all of them with mmseg's IoUMetric, and writes results.md, results.json and
comparison.png into work_dirs/demo. Every training is a `tools/train.py` run, as a
user would start it; its log is in its own folder.
"""
import argparse
import datetime
import json
import os
import statistics
import time

import _common
import torch
from _jobs import TOOLS, Job, Progress, clock, run_jobs

from mmkd.datasets.drawn import write_cityscapes
from mmkd.utils.checkpoint import safe_load
from mmkd.utils.configs import read_config
from mmkd.visualization import draw_comparison

CONFIGS = os.path.join(os.path.dirname(TOOLS), 'configs', 'demo')
COST = dict(teacher=0.25, student=0.06, distilled=0.11)  # two students run at a time


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
        return Job(kind, seed, os.path.join(args.out, f'{kind}_seed{seed}'), iters,
                   os.path.join(CONFIGS, f'{kind}.py'), COST[kind], options)

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


def page(results):
    """The table with where it comes from."""
    return (f"{table(results['rows'])}\n\nmIoU on {results['val']} drawn street scenes; recipe "
            f"{results['recipe']}. `make demo`, {results['cores']} cores, torch "
            f"{results['torch']}, {results['date']}, {clock(results['seconds'])} "
            'minutes after set-up. Std is over the seeds.')


def main(args):
    args.out = os.path.abspath(args.out)
    began = time.time()
    print(f'demo: drawing {args.train} + {args.val} street scenes', flush=True)
    data_root = write_cityscapes(os.path.join(args.out, 'data', 'street_scenes'),
                                 train=args.train, val=args.val, width=256, height=128, seed=0)
    teacher, students = make_jobs(args, os.path.abspath(data_root))
    progress = Progress([teacher, *students])
    run_jobs([teacher], 1, progress)
    # The long ones first, so that no core waits at the end.
    longest_first = sorted(students, key=lambda job: -job.cost * job.iters)
    run_jobs(longest_first, min(os.cpu_count() or 1, len(students)), progress)
    rows = summarise(teacher, students)
    results = dict(rows=rows, recipe=args.recipe or 'cwd', train=args.train, val=args.val,
                   scale=args.scale, torch=torch.__version__, cores=os.cpu_count(),
                   date=str(datetime.date.today()), seconds=time.time() - began)
    with open(os.path.join(args.out, 'results.json'), 'w') as file:
        json.dump(results, file, indent=1)
    with open(os.path.join(args.out, 'results.md'), 'w') as file:
        file.write(page(results) + '\n')
    picture = draw_comparison(
        os.path.join(args.out, 'comparison.png'), data_root,
        {'teacher': (os.path.join(CONFIGS, 'teacher.py'), teacher.checkpoint),
         'student alone': (os.path.join(CONFIGS, 'student.py'), students[0].checkpoint),
         # the distilled checkpoint is a plain student's: its own config loads it
         'student distilled': (os.path.join(CONFIGS, 'student.py'), students[1].checkpoint)})
    print(f'\n{page(results)}\n\nresults: {args.out}/results.md, results.json\npicture: {picture}\n'
          f'total: {clock(time.time() - began)} minutes', flush=True)


if __name__ == '__main__':
    _common.run(main, parse_args())
