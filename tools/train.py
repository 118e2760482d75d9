"""Train a student with its teacher.

    python tools/train.py configs/seg/cwd/cwd_pspnet-r101_pspnet-r18_....py
    python tools/train.py --student CFG --teacher CFG --teacher-checkpoint FILE --recipe cwd

A config without a distiller is trained as it is (a teacher, or the student alone). With --check,
nothing is trained or written: mistakes are told, and what would happen.
"""
import argparse

import _common
from mmengine.runner import Runner

from mmkd.apis import (
    check_datasets,
    check_training,
    latest_checkpoint,
    prepare,
    use_cpu_processes,
)
from mmkd.utils.checkpoint import safe_load


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    _common.add_model_options(parser)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='FILE',
                        help='go on from FILE, or from the latest checkpoint of the work dir')
    parser.add_argument('--amp', action='store_true', help='train with mixed precision')
    parser.add_argument('--check', action='store_true',
                        help='build everything, take the first step in memory, print what would '
                        'be trained, and stop')
    _common.add_run_options(parser)
    args = parser.parse_args(argv)
    _common.check_model_options(parser, args)
    return args


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
    cfg, name = _common.config_of(args)
    cfg = prepare(_common.apply_run_options(cfg, args, name))
    if args.amp and cfg.optim_wrapper.get('type', 'OptimWrapper') != 'AmpOptimWrapper':
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.resume is not None:
        resume(cfg, args.resume)
    if args.check:
        print(check_training(cfg))
        return
    check_datasets(cfg)
    use_cpu_processes(cfg)
    Runner.from_cfg(cfg).train()


if __name__ == '__main__':
    _common.run(main, parse_args())
