"""Train a student with its teacher.

    python tools/train.py configs/seg/cwd/cwd_pspnet-r101_pspnet-r18_....py
    python tools/train.py --student CFG --teacher CFG --teacher-checkpoint FILE --recipe cwd

A config without a distiller is trained as it is (a teacher, or the student alone). With --check,
nothing is trained or written: mistakes are told, and what would happen.
"""
import argparse

import _common
from mmengine.logging import print_log

from mmkd.apis import (
    build_model,
    build_runner,
    check_datasets,
    check_found,
    check_training,
    find_start,
    how_to_go_on,
    prepare,
    use_amp,
    use_cpu_amp,
    use_cpu_processes,
)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    _common.add_model_options(parser)
    parser.add_argument('--resume', nargs='?', const='auto', metavar='FILE',
                        help='go on from FILE, or from the latest checkpoint of the work dir')
    parser.add_argument('--amp', action='store_true',
                        help='train with mixed precision (on a CPU: in bfloat16)')
    parser.add_argument('--seed', type=_common.seed, metavar='N',
                        help='short for --cfg-options randomness.seed=N')
    parser.add_argument('--deterministic', action='store_true',
                        help='deterministic kernels only, or an error; short for --cfg-options '
                        'randomness.deterministic=True')
    parser.add_argument('--check', action='store_true',
                        help='build everything, take the first step in memory, print what would '
                        'be trained, and stop')
    _common.add_run_options(parser)
    args = parser.parse_args(argv)
    _common.check_model_options(parser, args)
    return args


def set_randomness(cfg, args):
    """What the command line says of it; the config's other settings are kept."""
    given = dict(seed=args.seed) if args.seed is not None else {}
    if args.deterministic:
        given['deterministic'] = True
    cfg.randomness = {'seed': None, **(cfg.get('randomness') or {}), **given}  # None: draw one


def main(args):
    cfg, name = _common.config_of(args)
    cfg = prepare(_common.apply_run_options(cfg, args, name))
    set_randomness(cfg, args)
    if args.amp:
        use_amp(cfg)
    use_cpu_amp(cfg)
    start = find_start(cfg, args.resume)
    if args.check:
        print(check_training(cfg, start))
        return
    for found in check_datasets(cfg):
        for note in found.notes:
            print_log(f'{found.where}: {note}', logger='current')
    use_cpu_processes(cfg)
    model = build_model(cfg)  # what is wrong with it is told before the Runner writes anything
    check_found(model, cfg, start)
    runner = build_runner(cfg, model)
    try:
        runner.train()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(how_to_go_on(cfg.work_dir)) from None


if __name__ == '__main__':
    _common.run(main, parse_args())
