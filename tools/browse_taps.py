"""List the taps of any model config, with shapes and strides: nobody has to guess a path.

    python tools/browse_taps.py mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py
    python tools/browse_taps.py CONFIG --match 'layer4|decode_head' --depth 4
    python tools/browse_taps.py mmdet::gfl/gfl_r50_fpn_1x_coco.py
    python tools/browse_taps.py DISTILL_CONFIG

First the semantic names ('logits', 'neck', ...), which work for every model of
its kind, then the modules; of a pyramid every level. Of a distill config, the student (as it runs
in training) and its teachers (in inference) stand side by side, levels of equal stride in one
line, with what a term between the two would need. The models are built with random weights and
run on a random image (or random points); no data and no checkpoint are read. Maps seen from above
are channels x Y x X, with the size of their cells in metres and the range that they cover.
"""
import argparse
import re

import _common

from mmkd.models.dry_run import DryRun
from mmkd.models.layout import metres_text
from mmkd.models.libraries import library_of
from mmkd.models.teacher import build_model, named_teachers
from mmkd.utils.configs import is_distiller, read_config

#: names of class scores, whose numbers of channels are those of classes
CLASSES = ('logits', 'aux_logits', 'cls', 'query_cls', 'roi_cls', 'rpn_cls', 'heatmap')


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


class Metres(float):
    """The size of a cell of a map seen from above; another number is a stride in pixels."""


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
        given = f'input {self.run.size} pixels wide' if self.run.size else 'on points'
        ranges = dict.fromkeys(layout.range for layout in self.run.layouts.values())
        seen = ''.join(f', BEV maps cover {metres_text(metres)}' for metres in ranges if metres)
        return f'{self.label}: {self.called}, in {how}, {given}{seen}'

    def levels(self, name):
        """[(stride or None, tensor)] of what a name gives: of a pyramid all levels, of one map
        one, of a name that it lacks none."""
        value = self.run.examples.get(name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        return [(self._stride(name, x), x) for x in values]

    def _stride(self, name, x):
        """None for rows, of RoIs, queries or voxels, which have none."""
        if x.ndim != 4 or x.shape[-1] == 1:
            return None
        layout = self.run.layouts[name]
        if layout.range is not None:
            return Metres(layout.cell(x)[0])
        inputs, samples = self.run.batch
        several = isinstance(inputs, dict) and len(x) % len(samples) == 0  # a map for each camera
        is_map = self.run.size and (several or len(x) == len(samples))
        return self.run.size / x.shape[-1] if is_map else None

    def tasks(self, name):
        """The classes of each map of a name that gives one for each task; else nothing."""
        layout = self.run.layouts.get(name)
        return [', '.join(task) for task in (layout and layout.tasks) or ()]

    def is_pyramid(self, name):
        return isinstance(self.run.examples.get(name), list)


def describe(stride, x):
    """('512 x 8 x 8', 'stride 8') of a tensor: without the batch."""
    shape = ' x '.join(map(str, x.shape[1:])) or 'scalar'
    if isinstance(stride, Metres):
        return shape, f'cells of {stride:g} m'
    return shape, '' if stride is None else f'stride {stride:g}'


def needed(name, student, teacher):
    """What a term needs that taps these (stride, tensor), of the same name, on both sides."""
    channels = [x.shape[1] for _, x in (student, teacher)]
    if channels[0] != channels[1]:
        return 'other classes' if name in CLASSES else 'a connector for most losses'
    return 'no connector needed' + ('' if student[0] == teacher[0] else ', is resized')


def pairs(student, teacher):
    """Levels of two pyramids side by side, those of equal stride; None where one is missing."""
    left, found = list(teacher), []
    for level in student:
        partner = next((i for i, other in enumerate(left) if _near(level, other)), None)
        found.append((level, None if partner is None else left.pop(partner)))
    found += [(None, level) for level in left]
    return sorted(found, key=lambda pair: (pair[0] or pair[1])[0] or 0)


def _near(level, other):
    if isinstance(level[0], Metres) or isinstance(other[0], Metres):
        return type(level[0]) is type(other[0]) and abs(level[0] - other[0]) < 1e-4
    return level[0] == other[0] or None not in (level[0], other[0]) and round(
        level[0]) == round(other[0])


def show_names(network):
    print('\nsemantic names')
    for name in network.names:
        levels = network.levels(name)
        if not levels:
            continue
        lines = ['{:<20} {:<11}'.format(*describe(*level)) for level in levels]
        if not network.is_pyramid(name):
            print(f"  {name:<18} {lines[0]} = '{network.run.taps[name]}'")
            continue
        tasks = network.tasks(name)
        kind = f'{len(levels)} tasks' if tasks else f'pyramid of {len(levels)}'
        print(f"  {name:<18} {kind:<32} = '{network.run.taps[name]}'")
        for i, line in enumerate(lines):
            print(f"    {f'[{i}]':<16} {line} {tasks[i] if tasks else ''}".rstrip())
    print('  (not here: ' + ', '.join(n for n in network.names if not network.levels(n)) + ')')


def show_pair(student, teacher):
    print(f'\n{"semantic names":<20} {student.label:<28} {teacher.label:<28} a term needs')
    for name in student.names:
        sides = student, teacher
        levels = [side.levels(name) for side in sides]
        if not any(levels):
            continue
        if not all(levels):
            lacking = next(side.label for side in sides if not side.levels(name))
            _show_line(f'  {name}', sides, name, f'not in the {lacking}')
        elif not any(side.is_pyramid(name) for side in sides):
            _show_levels(f'  {name}', levels[0][0], levels[1][0], needed(
                name, levels[0][0], levels[1][0]))
        elif not all(side.is_pyramid(name) for side in sides):
            _show_line(f'  {name}', sides, name, 'one level of the pyramid')
        else:
            _show_line(f'  {name}', sides, name, '')
            for one, other in pairs(*levels):
                _show_levels('    level', one, other, needed(name, one, other) if one and other
                             else "no partner: levels='common' leaves it out")


def _show_line(start, sides, name, what):
    """A name as a whole."""
    texts = []
    for side in sides:
        levels = side.levels(name)
        texts.append(f'pyramid of {len(levels)}' if side.is_pyramid(name)
                     else _text(levels[0] if levels else None))
    print(f'{start:<20} {texts[0]:<28} {texts[1]:<28} {what}'.rstrip())


def _show_levels(start, one, other, what):
    print(f'{start:<20} {_text(one):<28} {_text(other):<28} {what}'.rstrip())


def _text(level):
    return '-' if level is None else '{:<15} {}'.format(*describe(*level))


def show_modules(network):
    run = network.run
    print(f'\nmodules of the {network.label}')
    for path in network.paths:
        if path in run.taps:
            for level in network.levels(path):
                print('  {:<40} {:<20} {}'.format(path, *describe(*level)))
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
