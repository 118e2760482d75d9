"""The main job on small data: a teacher, the student alone, and the student it teaches.

    make demo        (or: python tools/demo.py [--recipes cwd mgd] [--seeds 0 1 2])
    make demo-det    (or: python tools/demo.py --task det [--recipes pkd] [--seeds 0 1 2])

Draws scenes in Cityscapes' or COCO's layout and calls tools/compare.py with the configs of
configs/demo: teacher, student alone and distilled students with the same seeds, data order and
schedule, evaluated with mmseg's IoUMetric or mmdet's CocoMetric. Table, numbers and pictures are
in work_dirs/demo or work_dirs/demo_det.
"""
import argparse
import os
from collections.abc import Callable
from typing import NamedTuple

import _common
import compare

from mmkd.apis import config_root
from mmkd.datasets.drawn import write_cityscapes, write_coco
from mmkd.utils.configs import read_config


class Task(NamedTuple):
    """What a demo is about.

    Attributes:
        configs (str): Folder in ``configs`` of its student and teacher.
        out (str): Default output folder.
        recipes (tuple): Default recipes.
        scenes (str): Folder of its data, in the output folder.
        write (callable): Draws them: ``write(root, train, val, cfg)``, of the student's config.
    """
    configs: str
    out: str
    recipes: tuple
    scenes: str
    write: Callable


TASKS = dict(
    seg=Task('demo', 'work_dirs/demo', ('cwd',), 'street_scenes',
             lambda root, train, val, cfg: write_cityscapes(
                 root, train=train, val=val, width=256, height=128)),
    det=Task('demo/det', 'work_dirs/demo_det', ('pkd', 'mgd', 'fgd', 'crosskd_gfl'), 'things',
             lambda root, train, val, cfg: write_coco(
                 root, train, val, *cfg.scale, classes=cfg.classes)))


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', choices=sorted(TASKS), default='seg',
                        help='segmentation or detection (default: %(default)s)')
    parser.add_argument('--out', metavar='DIR', help='output folder (default: '
                        + ', '.join(task.out for task in TASKS.values()) + ')')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], metavar='S',
                        help='seeds of the student runs (default: 0 1 2)')
    parser.add_argument('--recipes', nargs='+', metavar='NAME',
                        help='what to distil with (default: '
                        + '; '.join(' '.join(task.recipes) for task in TASKS.values()) + ')')
    parser.add_argument('--train', type=int, default=400, help='training pictures')
    parser.add_argument('--val', type=int, default=100, help='validation pictures')
    parser.add_argument('--scale', type=float, default=1.,
                        help='multiply every training length, e.g. 0.02 for a smoke run')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def options(config, data_root, scale):
    """The config values that the demo sets itself."""
    values = [f'{loader}.dataset.data_root={data_root}'
              for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')]
    if scale != 1:
        iters = max(int(read_config(config).max_iters * scale), 2)
        values += [f'train_cfg.max_iters={iters}', f'train_cfg.val_interval={iters}',
                   f'default_hooks.checkpoint.interval={iters}', 'param_scheduler=[]',
                   'default_hooks.logger.interval=1']
    return values


def main(args):
    task = TASKS[args.task]
    out = args.out or task.out
    student, teacher = (os.path.join(config_root(), task.configs, f'{name}.py')
                        for name in ('student', 'teacher'))
    print(f'demo: drawing {args.train} + {args.val} scenes', flush=True)
    data_root = task.write(os.path.join(out, 'data', task.scenes), args.train, args.val,
                           read_config(student))
    compare.main(compare.parse_args([
        '--student', student, '--teacher', teacher, '--train-teacher', '--out', out,
        '--recipes', *(args.recipes or task.recipes), '--seeds', *map(str, args.seeds),
        '--cfg-options', *options(student, data_root, args.scale),
        '--teacher-cfg-options', *options(teacher, data_root, args.scale)]))


if __name__ == '__main__':
    _common.run(main, parse_args())
