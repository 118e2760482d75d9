"""List the taps of any model config, with shapes and strides: nobody has to guess a path.

    python tools/browse_taps.py mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py
    python tools/browse_taps.py CONFIG --match 'layer4|decode_head' --depth 4
    python tools/browse_taps.py DISTILL_CONFIG

First the semantic names ('logits', 'head', ...), which work for every model of
its kind, then the modules. Of a distill config, the student (as it runs in training) and its
teachers (in inference) stand side by side, with what a term between the two would need. The
models are built with random weights and run on a random image; no data and no checkpoint are
read.
"""
import argparse
import re

import _common

from mmkd.models.dry_run import DryRun
from mmkd.models.libraries import library_of
from mmkd.models.teacher import build_model, named_teachers
from mmkd.utils.configs import is_distiller, read_config


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


class Browsed:
    """A network with all its taps, ``label`` being what it is called."""

    def __init__(self, config, label, args, training):
        model = build_model(config, label)
        library, wanted = library_of(model), re.compile(args.match)
        self.label, self.training = label, training
        self.called = library.called(model)
        self.names = list(library.MEANINGS)
        self.paths = [path for path, _ in model.named_modules()
                      if path and path.count('.') < args.depth and wanted.search(path)]
        self.run = DryRun(model, library, label, [*self.names, *self.paths], training)

    def __str__(self):
        how = 'training' if self.training else 'inference'
        return f'{self.label}: {self.called}, in {how}, input {self.run.size} pixels wide'

    def shape(self, name):
        """'512 x 8 x 8', or '' for a name that it lacks."""
        return describe(self.run.examples[name]) if name in self.run.examples else ''

    def stride(self, name):
        value = self.run.examples.get(name)
        if value is None or value.ndim != 4 or value.shape[-1] < 2:
            return ''
        return f'{self.run.size / value.shape[-1]:g}'


def describe(value):
    """'512 x 8 x 8' for a tensor: without the batch."""
    return ' x '.join(map(str, value.shape[1:])) or 'scalar'


def needed(student, teacher, name):
    """What a term that taps ``name`` on both sides needs."""
    lacking = [side.label for side in (student, teacher) if name not in side.run.examples]
    if lacking:
        return f"not in the {' and the '.join(lacking)}"
    channels = [side.run.examples[name].shape[1] for side in (student, teacher)]
    if channels[0] != channels[1]:
        return 'other classes' if name in ('logits', 'aux_logits') else \
            'a connector for most losses'
    strides = student.stride(name), teacher.stride(name)
    return '' if strides[0] == strides[1] else 'is resized'


def show_names(network):
    print('\nsemantic names')
    for name in network.names:
        if name in network.run.examples:
            print(f'  {name:<18} {network.shape(name):<20} stride {network.stride(name):<4} '
                  f"= '{network.run.taps[name]}'")
    print('  (not here: ' + ', '.join(n for n in network.names if n not in network.run.examples)
          + ')')


def show_pair(student, teacher):
    print(f'\n{"semantic names":<20} {student.label:<26} {teacher.label:<26} a term needs')
    for name in student.names:
        if not student.shape(name) and not teacher.shape(name):
            continue
        sides = [f'{side.shape(name):<15} stride {side.stride(name)}'
                 if side.shape(name) else '-' for side in (student, teacher)]
        print(f'  {name:<18} {sides[0]:<26} {sides[1]:<26} {needed(student, teacher, name)}')


def show_modules(network):
    run = network.run
    print(f'\nmodules of the {network.label}')
    for path in network.paths:
        if path in run.taps:
            print(f'  {path:<40} {network.shape(path):<20} stride {network.stride(path)}')
        elif 'never fires' not in run.errors.get(path, ''):
            print(f"  {path:<40} {run.errors[path].partition(': ')[2] or run.errors[path]}")


def main(args):
    cfg = read_config(args.config)
    model = cfg.get('model') or {}
    if not is_distiller(model):
        network = Browsed(args.config, 'model', args, args.training)
        print(f'{args.config}\n{network}; shapes are channels x height x width')
        show_names(network)
        show_modules(network)
        return
    student = Browsed(args.config, 'student', args, True)
    teachers = [Browsed(teacher['config'], label, args, False)
                for label, teacher in named_teachers(model.get('teacher')).values()]
    print(f'{args.config}; shapes are channels x height x width', student, *teachers, sep='\n')
    for teacher in teachers:
        show_pair(student, teacher)
    for network in (student, *teachers):
        show_modules(network)


if __name__ == '__main__':
    _common.run(main, parse_args())
