"""List the taps of any model config, with shapes and strides: nobody has to guess a path.

    python tools/browse_taps.py mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py
    python tools/browse_taps.py CONFIG --match 'layer4|decode_head' --depth 4

First the semantic names ('logits', 'head', ...), which work for every model of
its kind, then the modules. The model is built with random weights and run on
a random image; no data and no checkpoint are read.
"""
import argparse
import re

import _common
import torch

from mmkd.models.dry_run import DryRun
from mmkd.models.libraries import library_of
from mmkd.models.teacher import build_model


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help="config file or e.g. 'mmseg::pspnet/....py'")
    parser.add_argument('--match', metavar='REGEX', default='', help='only paths that match')
    parser.add_argument('--depth', type=int, default=3, help='deepest path (default: 3 parts)')
    parser.add_argument('--training', action='store_true',
                        help='run it as in training (as a student) instead of as a teacher')
    parser.add_argument('--debug', action='store_true', help='show the traceback of an error')
    return parser.parse_args(argv)


def describe(value):
    """'512 x 8 x 8' for a tensor, the same of its items for a tuple."""
    if isinstance(value, torch.Tensor):
        return ' x '.join(map(str, value.shape[1:])) or 'scalar'
    if isinstance(value, (list, tuple)):
        return '[' + ', '.join(map(describe, value)) + ']'
    return type(value).__name__


def stride(value, size):
    if isinstance(value, torch.Tensor) and value.ndim == 4 and value.shape[-1] > 0:
        return f'{size / value.shape[-1]:g}'
    return ''


def main(args):
    wanted = re.compile(args.match)
    model = build_model(args.config, 'model')
    library = library_of(model)
    paths = [path for path, _ in model.named_modules()
             if path and path.count('.') < args.depth and wanted.search(path)]
    run = DryRun(model, library, 'model', [*library.tap_names(model), *paths], args.training)
    rows = [(name, run.taps.get(name, ''), run.examples.get(name), '')
            for name in library.tap_names(model)]
    print(f'{type(model).__name__}, input {run.size} x {run.size}; shapes are channels x height x '
          'width\n\nsemantic names')
    for name, tap, value, _ in rows:
        shape = describe(value) if value is not None else run.errors[name]
        print(f"  {name:<18} {shape:<20} stride {stride(value, run.size):<4} = '{tap}'"
              if value is not None else f'  {name:<18} {shape}')
    print('\nmodules')
    for path in paths:
        if path in run.taps:
            value = run.examples[path]
            print(f'  {path:<40} {describe(value):<20} stride {stride(value, run.size)}')
        elif 'never fires' not in run.errors.get(path, ''):
            print(f"  {path:<40} {run.errors[path].partition(': ')[2] or run.errors[path]}")


if __name__ == '__main__':
    _common.run(main, parse_args())
