"""The main job on small data: a teacher, the student alone, and the student it teaches.

    make demo        (or: python tools/demo.py [--recipes cwd mgd] [--seeds 0 1 2])

Draws street scenes in Cityscapes' layout and calls tools/compare.py with the configs of
configs/demo: teacher, student alone and distilled student with the same seeds, data order and
schedule, evaluated with mmseg's IoUMetric. Table, numbers and pictures are in work_dirs/demo.
"""
import argparse
import os

import _common
import compare

from mmkd.apis import config_root
from mmkd.datasets.drawn import write_cityscapes
from mmkd.utils.configs import read_config


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='work_dirs/demo', metavar='DIR', help='output folder')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], metavar='S',
                        help='seeds of the student runs (default: 0 1 2)')
    parser.add_argument('--recipes', nargs='+', default=['cwd'], metavar='NAME',
                        help='what to distil with (default: cwd)')
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
    print(f'demo: drawing {args.train} + {args.val} street scenes', flush=True)
    data_root = write_cityscapes(os.path.join(args.out, 'data', 'street_scenes'),
                                 train=args.train, val=args.val, width=256, height=128, seed=0)
    student, teacher = (os.path.join(config_root(), 'demo', f'{name}.py')
                        for name in ('student', 'teacher'))
    compare.main(compare.parse_args([
        '--student', student, '--teacher', teacher, '--train-teacher', '--out', args.out,
        '--recipes', *args.recipes, '--seeds', *map(str, args.seeds),
        '--cfg-options', *options(student, data_root, args.scale),
        '--teacher-cfg-options', *options(teacher, data_root, args.scale)]))


if __name__ == '__main__':
    _common.run(main, parse_args())
