"""What the tools share: their options, and errors as one line instead of a traceback."""
import argparse
import os
import re
import sys
import traceback

import _quiet  # before mmengine
from mmengine.config import Config, DictAction

from mmkd.apis import (
    check_writable,
    compose,
    end_processes,
    keep_log,
    merge_options,
    recipes,
    show_kept_warnings,
)
from mmkd.utils.configs import read_config
from mmkd.utils.recipes import recipe_names


class ConfigOptions(DictAction):
    """Config values of the command line, and the words that were typed, as ``<dest>_given``."""

    def __call__(self, parser, namespace, values, option_string=None):
        for word in values:
            key, equals, value = word.partition('=')
            if not key or not equals:
                raise argparse.ArgumentError(self, f'{word!r} is no KEY=VALUE')
            if re.search(r'(^|[\[(,])\s*(dict\(|\{[^}]*:)', value):
                raise argparse.ArgumentError(
                    self, f'{word!r}: a dict cannot be written here. Set its keys one by one '
                    f'({key}.key=value), or write it in a config')
        try:
            super().__call__(parser, namespace, values, option_string)
        except (AssertionError, RecursionError, ValueError) as error:
            raise argparse.ArgumentError(self, f"{' '.join(values)}: {error}") from error
        setattr(namespace, f'{self.dest}_given', values)


def add_run_options(parser):
    """The options that train.py and test.py have in common."""
    parser.add_argument('--work-dir', help='where logs, checkpoints and results go '
                        '(default: work_dirs/<config name>)')
    add_cfg_options(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='job launcher (dist_train.sh sets pytorch)')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    # torch's launcher gives it; mmengine reads the variable.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)


def add_cfg_options(parser):
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions, default={}, metavar='K=V',
                        help='override config values, e.g. '
                        'model.distillations.logits.weight=5 train_cfg.max_iters=100')


def add_model_options(parser):
    """A config file, or the pair and the recipe that stand for one."""
    parser.add_argument('config', nargs='?', help='config file, of a distillation or of any model')
    group = parser.add_argument_group('without a config file')
    group.add_argument('--student', metavar='CFG',
                       help="the student's config: a path or e.g. "
                       "'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'; data and "
                       'schedule come from it')
    group.add_argument('--teacher', metavar='CFG', help="the teacher's config")
    group.add_argument('--teacher-checkpoint', metavar='FILE',
                       help="the teacher's weights: a file or an address")
    group.add_argument('--recipe', metavar='NAME[,NAME]',
                       help=f"one or several of {', '.join(recipes())}, or files with "
                       'distillations')
    group.add_argument('--allow-random-teacher', action='store_true',
                       help='accept a teacher without weights (for a trial run)')


def check_model_options(parser, args):
    """Exit with the usage unless ``args`` name one model in one way."""
    pair = dict(student=args.student, teacher=args.teacher, recipe=args.recipe)
    missing = [f'--{key}' for key, value in pair.items() if value is None]
    if args.config is None and missing:
        parser.error('give a config file, or --student, --teacher and --recipe (missing: '
                     f"{', '.join(missing)})")
    if args.config is None:
        return
    if len(missing) < 3:
        parser.error('give either a config file or --student/--teacher/--recipe, not both')
    for option, key in (('--teacher-checkpoint', 'checkpoint'),
                        ('--allow-random-teacher', 'allow_random')):
        if getattr(args, option[2:].replace('-', '_')):
            parser.error(f'{option} goes with --teacher; with a config file, --cfg-options '
                         f'model.teacher.{key}=... changes the teacher')


def config_of(args):
    """The config that the arguments mean, and the name of its default work dir."""
    if args.config is not None:
        name = os.path.splitext(os.path.basename(args.config))[0]
        return read_config(args.config), name
    cfg = compose(args.student, args.teacher, args.recipe, args.teacher_checkpoint,
                  args.allow_random_teacher)
    if args.teacher_checkpoint is None and not args.allow_random_teacher:
        raise ValueError('teacher has no weights: give --teacher-checkpoint FILE (a random teacher '
                         'teaches noise; for a trial run, --allow-random-teacher)')
    stem = [os.path.splitext(os.path.basename(p))[0]
            for p in (*recipe_names(args.recipe), args.student)]
    name = '_'.join(stem)
    # The Runner writes the config into the work dir under this name.
    return Config(cfg.to_dict(), cfg_text=cfg.pretty_text, filename=f'{name}.py'), name


def apply_run_options(cfg, args, name):
    """Put the common options into ``cfg``; ``name`` is the default work dir's."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher
    merge_options(cfg, args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', name)
    check_writable(cfg.work_dir, '--work-dir')
    return cfg


def seed(text):
    """A seed on the command line."""
    if not text.isdecimal() or int(text) >= 2 ** 32:
        raise argparse.ArgumentTypeError(f'{text!r} is no seed: a whole number from 0 to 2**32 - 1')
    return int(text)


def run(main, args):
    """Call ``main(args)``; a mistake of the user's is one message and exit code 1.

    What breaks inside a training step, and is no message of mmkd's, keeps its traceback.
    """
    keep_log()
    try:
        main(args)
        end_processes()
        show_kept_warnings()
    except KeyboardInterrupt as error:
        _quiet.interrupted(error)
    except Exception as error:
        show_kept_warnings()
        frames = traceback.extract_tb(error.__traceback__)
        in_step = any(frame.name == 'run_iter' for frame in frames)
        ours = any(f'{os.sep}mmkd{os.sep}{room}{os.sep}' in frames[-1].filename
                   for room in ('models', 'apis'))
        if args.debug or (in_step and not ours):
            raise
        text = f'key {error}' if isinstance(error, KeyError) else str(error)
        print(f'\nerror: {text or type(error).__name__}\n({type(error).__name__} in '
              f'{frames[-1].filename}:{frames[-1].lineno}; run again with --debug for the '
              'traceback)', file=sys.stderr)
        sys.exit(1)
