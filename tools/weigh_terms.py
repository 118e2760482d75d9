"""Measure how hard each term of a distillation pulls at the student, to choose its weight.

    python tools/weigh_terms.py CONFIG
    python tools/weigh_terms.py --student CFG --teacher CFG --teacher-checkpoint FILE --recipe cwd
    python tools/weigh_terms.py CONFIG --after 0 200          (of a training in memory)
    python tools/weigh_terms.py CONFIG --checkpoint work_dirs/x/iter_*.pth

Over some batches of the training data: each term's loss, the norm of its gradient at the
student's parameters against that of the student's own loss, the cosine between both, and the
weight that brings the ratio to --ratio. Nothing is trained, changed or written, but the table
with --out.
"""
import argparse
import json
import os
import sys

import _common

from mmkd.apis import merge_options, prepare
from mmkd.apis.weighing import weigh
from mmkd.results.term_weights import term_weights

KINDS = ('.json', '.md')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    _common.add_model_options(parser)
    stages = parser.add_mutually_exclusive_group()
    stages.add_argument('--after', nargs='+', type=int, default=[0], metavar='N',
                        help='measure after N iterations of training, done in memory; several '
                        'numbers: at each (default: 0, before the first)')
    stages.add_argument('--checkpoint', nargs='+', default=[], metavar='FILE',
                        help='measure at the weights that a training wrote; several: at each')
    parser.add_argument('--batches', type=int, default=8, metavar='N',
                        help='how many batches (default: 8)')
    parser.add_argument('--ratio', type=float, default=1., metavar='R',
                        help='the ratio that the suggested weights would bring (default: 1)')
    parser.add_argument('--out', metavar='FILE', help='also write the table (.md) or every '
                        'figure (.json)')
    _common.add_cfg_options(parser)
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    args = parser.parse_args(argv)
    _common.check_model_options(parser, args)
    return args


def check_out(file):
    """A wrong name or folder is told before anything is measured."""
    if os.path.splitext(file)[1] not in KINDS:
        raise ValueError(f"--out {file!r}: expected a name that ends in {' or '.join(KINDS)}")
    if not os.path.isdir(os.path.dirname(file) or '.'):
        raise FileNotFoundError(f'--out {file!r}: there is no folder {os.path.dirname(file)!r}')


def main(args):
    if args.out is not None:
        check_out(args.out)
    cfg, _ = _common.config_of(args)
    merge_options(cfg, args.cfg_options)
    stages = weigh(prepare(cfg), args.batches, args.after, args.checkpoint, args.ratio,
                   progress=lambda text: print(text, file=sys.stderr, flush=True))
    page = term_weights(stages)
    print(page, end='')
    if args.out is not None:
        with open(args.out, 'w', encoding='utf-8') as file:
            file.write(page if args.out.endswith('.md') else json.dumps(stages, indent=1) + '\n')


if __name__ == '__main__':
    _common.run(main, parse_args())
