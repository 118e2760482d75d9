"""Which maps of two lists belong together: levels of equal stride, tasks of the same classes."""
from dataclasses import dataclass, field

import torch

from .layout import UNKNOWN
from .values import has_levels


@dataclass(frozen=True)
class Pairing:
    """The levels that a term compares.

    ``strides``: of the compared levels, in pixels of the student's image, or of maps seen from
    above the cells in metres, finest first; None where there is no pyramid, or one of another
    number of maps in every step: nothing is left out then.
    ``index``: side -> name of a tap (None for the only one) -> places of the levels in what the
    tap gives.
    ``classes``: name of a tap -> for each task of the student, the channels of its classes among
    all that the teacher's tasks have.
    """
    strides: tuple | None
    index: dict
    classes: dict = field(default_factory=dict)

    def take(self, side, value):
        """``value`` of a side with its pyramids reduced to the levels that are compared."""
        if self.strides is None:
            return value
        if isinstance(value, dict):
            return {name: self._take(side, name, item) for name, item in value.items()}
        return self._take(side, None, value)

    def _take(self, side, name, value):
        if not isinstance(value, list):
            return value
        if side == 'teacher' and name in self.classes:
            every = torch.cat(value, 1)
            return [every[:, channels] for channels in self.classes[name]]
        return [value[i] for i in self.index[side][name]]


def pair_levels(values, sizes, levels, layouts=None):
    """Pair the levels of the student's and the teacher's pyramids by stride.

    Levels of the same stride within one pyramid (SOLO, plain transformers) are paired in order.

    Args:
        values (dict): side -> what is tapped in the dry run: a tensor, a list, a dict of these.
        sizes (dict): side -> width of the dry run's image, or None.
        levels (str | tuple of int): 'all': a level without a partner is an error; 'common':
            those that both sides have; or the strides to take.
        layouts (dict, optional): side -> Layout by the tap's name (None for the only one).
            Levels of maps seen from above are paired by their cells in metres, maps of tasks by
            the names of the classes.

    Raises:
        ValueError: Only one side is a pyramid, or a level or a class has no partner.
    """
    kinds = _kinds(values)
    if not any(kinds.values()):
        if levels != 'all':
            raise ValueError(f'levels={levels!r}: neither tap is a pyramid; a pyramid is '
                             "written 'path[:]', or a name such as 'neck' that is one")
        return Pairing(None, {})
    if not all(kinds.values()):
        one, many = sorted(kinds, key=kinds.get)
        raise ValueError(f'the {many} tap is a pyramid and the {one} tap is one map; choose a '
                         "level of the pyramid with '[i]' behind a module's path, or tap a "
                         "pyramid on both sides ('path[:]')")
    lists = {(side, name): item for side, value in values.items()
             for name, item in (value.items() if isinstance(value, dict) else [(None, value)])
             if isinstance(item, list)}
    known = {(side, name): (layouts or {}).get(side, {}).get(name, UNKNOWN)
             for side, name in lists}
    if all(layout.tasks for layout in known.values()):
        return _pair_tasks(lists, known, levels)
    found = {key: _numbered(_strides(item, sizes[key[0]], known[key]))
             for key, item in lists.items()}
    common = [key for key in next(iter(found.values()))
              if all(key in other for other in found.values())]
    wanted = _wanted(found, common, levels)
    index = {side: {name: [found[side, name].index(key) for key in wanted]
                    for owner, name in found if owner == side} for side in values}
    return Pairing(tuple(stride for stride, _ in wanted), index)


def _kinds(values):
    """side -> whether it is a pyramid; of the first name that only one side has as a pyramid."""
    student, teacher = values['student'], values['teacher']
    if isinstance(student, dict) and isinstance(teacher, dict):
        for name in student:
            kinds = {side: has_levels(value.get(name)) for side, value in values.items()}
            if name in teacher and len(set(kinds.values())) == 2:
                return {f'{side} ({name})': kind for side, kind in kinds.items()}
    return {side: has_levels(value) for side, value in values.items()}


def _strides(maps, size, layout):
    if layout.range is not None:
        return [round(layout.cell(x)[0], 4) for x in maps]
    return [max(round(size / x.shape[-1]), 1) if size else 1 for x in maps]


def _pair_tasks(lists, known, levels):
    """Maps of a head's tasks, by the names of their classes."""
    if levels != 'all':
        raise ValueError(f'levels={levels!r}: the taps give a map for each task of the head, and '
                         'these are paired by classes')
    mine = {layout.tasks for (side, _), layout in known.items() if side == 'student'}
    theirs = {layout.tasks for (side, _), layout in known.items() if side == 'teacher'}
    (mine,), (theirs,) = mine, theirs  # of one head each
    index, classes = dict(student={}, teacher={}), {}
    for side, name in lists:
        index[side][name] = list(range(len(mine)))
        if side == 'student' or mine == theirs:
            continue
        if known[side, name].by_class:
            classes[name] = _channels(mine, theirs)
        else:
            index[side][name] = _same_tasks(mine, theirs)
    cells = next(_strides(item, None, known[key]) for key, item in lists.items()
                 if key[0] == 'student')
    return Pairing(tuple(cells), index, classes)


def _channels(mine, theirs):
    """For each of my tasks, the place of each of its classes among all of theirs."""
    every = [name for task in theirs for name in task]
    missing = [name for task in mine for name in task if name not in every]
    if missing:
        raise ValueError(f"the teacher's head does not know the classes {', '.join(missing)} of "
                         f"the student's; it knows {', '.join(every)}. Use a teacher trained on "
                         'these classes')
    return [[every.index(name) for name in task] for task in mine]


def _same_tasks(mine, theirs):
    """For each of my tasks, that of theirs which has the same classes."""
    sets = [frozenset(task) for task in theirs]
    if any(frozenset(task) not in sets for task in mine):
        raise ValueError(
            "the regression of a task is shared by its classes, and the student's tasks are "
            f"{_tasks_text(mine)}, the teacher's {_tasks_text(theirs)}: use networks whose heads "
            'group the classes in the same way, or distil features or the heatmap')
    return [sets.index(frozenset(task)) for task in mine]


def _tasks_text(tasks):
    return ' | '.join(', '.join(task) for task in tasks)


def _numbered(strides):
    """[8, 8, 16] -> [(8, 0), (8, 1), (16, 0)]"""
    return [(stride, strides[:i].count(stride)) for i, stride in enumerate(strides)]


def _wanted(found, common, levels):
    if levels == 'all':
        alone = {owner: [key for key in keys if key not in common] for owner, keys in found.items()}
        if any(alone.values()):
            partnerless = _text(sorted({key for keys in alone.values() for key in keys}))
            example = '[0.8, 1.6]' if isinstance(next(iter(found.values()))[0][0], float) \
                else '[8, 16]'
            raise ValueError(f'{_listed(found)}; those of stride {partnerless} have no partner. '
                             "levels='common' compares the levels that all have ("
                             f"{_text(common) or 'none here'}), levels={example} those of these "
                             'strides')
        return common
    if levels == 'common':
        if not common:
            raise ValueError(f"levels='common', but {_listed(found)}: none is in all")
        return common
    missing = [(stride, 0) for stride in levels if stride not in {s for s, _ in common}]
    if missing:
        raise ValueError(f'levels={list(levels)}, but {_listed(found)}: '
                         f'{_text(missing)} is not in all')
    return [key for key in common if key[0] in levels]


def _listed(found):
    return '; '.join(f'the {side} tap' + (f' {name!r}' if name else '')
                     + f' has levels of stride {_text(keys)}' for (side, name), keys in
                     found.items())


def _text(keys):
    """Pixels, or the metres of a cell."""
    return ', '.join(f'{stride:g} m' if isinstance(stride, float) else str(stride)
                     for stride, _ in keys)
