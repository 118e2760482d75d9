"""Train a student with its teacher.

    python tools/train.py configs/seg/cwd/cwd_pspnet-r101_pspnet-r18_....py
    python tools/train.py --student CFG --teacher CFG --teacher-checkpoint FILE --recipe cwd

A config without a distiller is trained as it is (a teacher, or the student alone).
"""
import argparse
import os

import _common
from mmengine.config import Config
from mmengine.runner import Runner

from mmkd.apis import (
    check_datasets,
    compose,
    latest_checkpoint,
    prepare,
    recipes,
    use_cpu_processes,
)
from mmkd.utils.checkpoint import safe_load
from mmkd.utils.configs import read_config


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', help='config file, of a distillation or of any model')
    group = parser.add_argument_group('without a config file')
    group.add_argument('--student', metavar='CFG',
                       help="the student's config: a path or e.g. "
                       "'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'; data and "
                       'schedule come from it')
    group.add_argument('--teacher', metavar='CFG', help="the teacher's config")
    group.add_argument('--teacher-checkpoint', metavar='FILE', help="the teacher's weights")
    group.add_argument('--recipe', metavar='NAME',
                       help=f"one of {', '.join(recipes())}, or a file with distillations")
    group.add_argument('--allow-random-teacher', action='store_true',
                       help='accept a teacher without weights (for a trial run)')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='FILE',
                        help='go on from FILE, or from the latest checkpoint of the work dir')
    parser.add_argument('--amp', action='store_true', help='train with mixed precision')
    _common.add_run_options(parser)
    args = parser.parse_args(argv)
    pair = dict(student=args.student, teacher=args.teacher, recipe=args.recipe)
    missing = [f'--{key}' for key, value in pair.items() if value is None]
    if args.config is None and missing:
        parser.error('give a config file, or --student, --teacher and --recipe (missing: '
                     f"{', '.join(missing)})")
    if args.config is not None and len(missing) < 3:
        parser.error('give either a config file or --student/--teacher/--recipe, not both')
    return args


def load(args):
    """The config that the arguments mean, and the name of its default work dir."""
    if args.config is not None:
        name = os.path.splitext(os.path.basename(args.config))[0]
        return read_config(args.config), name
    cfg = compose(args.student, args.teacher, args.recipe, args.teacher_checkpoint,
                  args.allow_random_teacher)
    stem = [os.path.splitext(os.path.basename(p))[0] for p in (args.recipe, args.student)]
    name = '_'.join(stem)
    # The Runner writes the config into the work dir under this name.
    return Config(cfg.to_dict(), cfg_text=cfg.pretty_text, filename=f'{name}.py'), name


def resume(cfg, source):
    """Set ``cfg`` to go on from a file or, with 'auto', from the newest checkpoint."""
    if source != 'auto':
        safe_load(source)  # a wrong or broken file is told before anything is built
    else:
        source = latest_checkpoint(cfg.work_dir)
        if source is None:
            print(f'no checkpoint in {cfg.work_dir!r} yet: training starts from the beginning')
    cfg.resume, cfg.load_from = source is not None, source or cfg.get('load_from')


def main(args):
    cfg, name = load(args)
    cfg = prepare(_common.apply_run_options(cfg, args, name))
    if args.amp and cfg.optim_wrapper.get('type', 'OptimWrapper') != 'AmpOptimWrapper':
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.resume is not None:
        resume(cfg, args.resume)
    check_datasets(cfg)
    use_cpu_processes(cfg)
    Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    _common.run(main, parse_args())
