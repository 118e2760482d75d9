"""The main job on small data: a teacher, the student alone, and the student it teaches.

    make demo        (or: python tools/demo.py [--recipes cwd mgd] [--seeds 0 1 2])
    make demo-det    (or: python tools/demo.py --task det [--recipes pkd] [--seeds 0 1 2])
    make demo-3d     (or: python tools/demo.py --task det3d [--recipes distillbev] [--seeds 0 1 2])

Draws scenes in the layout of Cityscapes, COCO or nuScenes and calls tools/compare.py with the
configs of configs/demo: teacher, student alone and distilled students with the same seeds, data
order and schedule, evaluated with mmseg's IoUMetric, mmdet's CocoMetric or mmdet3d's
NuScenesMetric. Table, numbers and pictures are in work_dirs/demo, work_dirs/demo_det or
work_dirs/demo_det3d.
"""
import argparse
import os
from collections.abc import Callable
from typing import NamedTuple

import _common
import compare

from mmkd.apis import config_root
from mmkd.datasets.drawn import write_cityscapes, write_coco, write_nuscenes
from mmkd.results.comparison.machine import cores
from mmkd.utils.configs import read_config


class Task(NamedTuple):
    """What a demo is about.

    Attributes:
        configs (str): Folder in ``configs`` of its student and teacher.
        out (str): Default output folder.
        recipes (tuple): Default recipes.
        scenes (str): Folder of its data, in the output folder.
        samples (tuple): Default numbers of samples to train and to validate on.
        rows (int): Of the pictures.
        write (callable): Draws them: ``write(root, train, val, cfg)``, of the student's config.
    """
    configs: str
    out: str
    recipes: tuple
    scenes: str
    samples: tuple
    rows: int
    write: Callable


def draw_drives(root, train, val, cfg):
    """Drives in nuScenes' layout, of at most ``cfg.keyframes`` samples each."""
    keyframes = min(cfg.keyframes, train, val)
    return write_nuscenes(root, -(-train // keyframes), -(-val // keyframes), keyframes,
                          *cfg.picture_size, workers=cores())


TASKS = dict(
    seg=Task('demo', 'work_dirs/demo', ('cwd',), 'street_scenes', (400, 100), 4,
             lambda root, train, val, cfg: write_cityscapes(
                 root, train=train, val=val, width=256, height=128)),
    det=Task('demo/det', 'work_dirs/demo_det', ('pkd', 'mgd', 'fgd', 'crosskd_gfl'), 'things',
             (400, 100), 4, lambda root, train, val, cfg: write_coco(
                 root, train, val, *cfg.scale, classes=cfg.classes)),
    det3d=Task('demo/det3d', 'work_dirs/demo_det3d', ('distillbev', 'unidistill'), 'drives',
               (512, 48), 2, draw_drives))


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', choices=sorted(TASKS), default='seg',
                        help='segmentation, detection, or a LiDAR detector that teaches one of '
                        'cameras (default: %(default)s)')
    parser.add_argument('--out', metavar='DIR', help='output folder (default: '
                        + ', '.join(task.out for task in TASKS.values()) + ')')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], metavar='S',
                        help='seeds of the student runs (default: 0 1 2)')
    parser.add_argument('--recipes', nargs='+', metavar='NAME',
                        help='what to distil with (default: '
                        + '; '.join(' '.join(task.recipes) for task in TASKS.values()) + ')')
    for i, (option, what) in enumerate((('--train', 'training'), ('--val', 'validation'))):
        parser.add_argument(option, type=compare.at_least(1), metavar='N',
                            help=f'{what} samples (default: ' + ', '.join(
                                str(task.samples[i]) for task in TASKS.values()) + ')')
    parser.add_argument('--scale', type=float, default=1.,
                        help='multiply every training length, e.g. 0.02 for a smoke run')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def options(config, data_root, scale):
    """The config values that the demo sets itself."""
    cfg = read_config(config)
    values = [f'{loader}.dataset.data_root={data_root}'
              for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')]
    for evaluator in ('val_evaluator', 'test_evaluator'):
        if 'data_root' in cfg[evaluator]:  # nuScenes' metric reads the tables, too
            truth = os.path.join(data_root, os.path.basename(cfg[evaluator].ann_file))
            values += [f'{evaluator}.data_root={data_root}', f'{evaluator}.ann_file={truth}']
    if scale != 1:
        iters = max(int(cfg.max_iters * scale), 2)
        values += [f'train_cfg.max_iters={iters}', f'train_cfg.val_interval={iters}',
                   f'default_hooks.checkpoint.interval={iters}', 'param_scheduler=[]',
                   'default_hooks.logger.interval=1']
    return values


def main(args):
    task = TASKS[args.task]
    out = args.out or task.out
    student, teacher = (os.path.join(config_root(), task.configs, f'{name}.py')
                        for name in ('student', 'teacher'))
    train, val = args.train or task.samples[0], args.val or task.samples[1]
    print(f'demo: drawing {train} + {val} samples', flush=True)
    data_root = task.write(os.path.join(out, 'data', task.scenes), train, val,
                           read_config(student))
    compare.main(compare.parse_args([
        '--student', student, '--teacher', teacher, '--train-teacher', '--out', out,
        '--recipes', *(args.recipes or task.recipes), '--seeds', *map(str, args.seeds),
        '--pictures', str(task.rows),
        '--cfg-options', *options(student, data_root, args.scale),
        '--teacher-cfg-options', *options(teacher, data_root, args.scale)]))


if __name__ == '__main__':
    _common.run(main, parse_args())
