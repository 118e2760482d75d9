"""Compare ways of distilling: the student alone and under each recipe, over seeds.

    python tools/compare.py --student CFG --teacher CFG --teacher-checkpoint FILE \\
        --recipes cwd kd my/recipe.py --seeds 0 1 2 --out work_dirs/comparison

Every training is a run of tools/train.py in its own folder, <out>/<student|recipe>/seed<k>, with
the same data order and schedule. Started again, the same command keeps what is finished and goes
on with the rest. Writes comparison.md, comparison.json, curves.png and predictions.png.
"""
import argparse
import signal
import sys

import _common

from mmkd.apis import recipes
from mmkd.results.comparison import Plan, run_comparison


def at_least(least):
    def number(text):
        if int(text) < least:
            raise argparse.ArgumentTypeError(f'{text} is less than {least}')
        return int(text)
    return number


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--student', required=True, metavar='CFG',
                        help="the student's config; data and schedule come from it")
    parser.add_argument('--teacher', required=True, metavar='CFG', help="the teacher's config")
    teacher = parser.add_mutually_exclusive_group(required=True)
    teacher.add_argument('--teacher-checkpoint', metavar='FILE', help="the teacher's weights")
    teacher.add_argument('--train-teacher', action='store_true',
                         help='train the teacher first, as its config says')
    parser.add_argument('--recipes', nargs='+', required=True, metavar='NAME',
                        help=f"of {', '.join(recipes())}, or files with distillations")
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], metavar='S',
                        help='seeds of the student runs (default: 0 1 2)')
    parser.add_argument('--out', required=True, metavar='DIR', help='output folder')
    parser.add_argument('--jobs', type=at_least(1), metavar='N',
                        help='runs at a time (default: as many as cores, GPUs and memory allow)')
    parser.add_argument('--split', choices=['val', 'test'], default='val',
                        help="what the table shows: the training's last validation (default), or "
                        'the final weights on the test split')
    parser.add_argument('--metric', metavar='KEY',
                        help="which metric (default: the config's save_best, or the usual one)")
    parser.add_argument('--pictures', type=at_least(0), default=4, metavar='N',
                        help='rows of predictions.png (default: 4)')
    for whose, options in (('the student', '--cfg-options'),
                           ('the teacher that is trained', '--teacher-cfg-options')):
        parser.add_argument(options, nargs='+', action=_common.ConfigOptions, default={},
                            metavar='K=V', help=f'override config values of {whose}, e.g. '
                            'train_cfg.max_iters=100')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    parser.set_defaults(cfg_options_given=[], teacher_cfg_options_given=[])
    return parser.parse_args(argv)


def main(args):
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    plan = Plan(args)
    try:
        run_comparison(plan, args.jobs, [sys.executable, *sys.argv], args.pictures,
                       lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == '__main__':
    _common.run(main, parse_args())
