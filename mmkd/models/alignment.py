"""Maps seen from above that cover different ranges are compared where both have something.

Maps are (B, C, Y, X), ranges (x_min, y_min, x_max, y_max) in metres.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.logging import print_log

from .layout import UNKNOWN, Layout, metres_text
from .values import leaves

#: ranges that differ by less, in metres, are the same
_SAME = 1e-3
#: the part of a cell by which a border may be off it
_WHOLE = 1e-3
#: what losses may ask for that are maps of the student's own grid
ON_STUDENTS_GRID = ('gt_heatmaps',)


@dataclass(frozen=True)
class Alignment:
    """Cuts the student's maps to the cells that lie in both ranges, and reads the teacher's there.

    The teacher's map is sampled bilinearly, by metres, at the centers of the student's cells.
    Where both ranges are the same nothing is done: losses resize maps of other numbers of cells.

    Attributes:
        area: The range of the compared maps.
        student, teacher: The Layouts of what is tapped, with their ranges.
        names: side -> names of the taps that are such maps; None for the only one.
    """
    area: tuple
    student: Layout
    teacher: Layout
    names: dict

    @property
    def changes(self):
        """Whether the ranges differ."""
        return not _close(self.student.range, self.teacher.range)

    def __call__(self, student, teacher):
        """Both sides, (B, C, Y', X') where they were maps seen from above."""
        if not self.changes:
            return student, teacher
        student = self._each('student', student, lambda x, _: self.crop(x))
        first = _of(student, self.names['student'][0])
        return student, self._each('teacher', teacher, lambda x, name: self._sample(
            x, _of(student, name, first)))

    def crop(self, value):
        """Cut maps of the student's range, (..., Y, X), to the area."""
        if isinstance(value, (list, tuple)):
            return [self.crop(x) for x in value]
        (left, right), (low, high) = _inside(self.student, value, self.area)
        return value[..., low:high, left:right]

    def _each(self, side, value, function):
        if isinstance(value, dict):
            return {name: function(item, name) if name in self.names[side] else item
                    for name, item in value.items()}
        return function(value, None)

    def _sample(self, value, like):
        """The teacher's maps at the cells of the student's: level by level, or all at those of
        one map."""
        if isinstance(value, (list, tuple)):
            many = isinstance(like, list) and len(like) == len(value)
            return [self._sample(x, like[i] if many else like) for i, x in enumerate(value)]
        like = like[0] if isinstance(like, list) else like
        wide = value.to(torch.promote_types(value.dtype, torch.float32))
        axes = []
        for axis, count in ((0, like.shape[-1]), (1, like.shape[-2])):
            start, stop = self.area[axis], self.area[axis + 2]
            low, high = self.teacher.range[axis], self.teacher.end(value, axis)
            centers = start + (torch.arange(count, dtype=torch.float64) + .5) * (
                (stop - start) / count)
            axes.append((2 * (centers - low) / (high - low) - 1).to(wide))
        grid = torch.stack([axes[0].expand(len(axes[1]), -1),
                            axes[1][:, None].expand(-1, len(axes[0]))], -1)
        with torch.autocast(wide.device.type, enabled=False):
            # Beyond the middle of the teacher's outermost cells its map goes on as it is there.
            return F.grid_sample(wide, grid.expand(len(wide), -1, -1, -1), 'bilinear', 'border',
                                 align_corners=False)


def align(layouts, student, teacher, where):
    """The Alignment of a term, None if a side has no map seen from above whose range is known.

    Args:
        layouts (dict): side -> Layout by the tap's name (None for the only one).
        student, teacher (Tensor | list | dict): What the term pairs, of a dry run.
        where (str): How messages call the term.

    Raises:
        ValueError: The ranges have less than a cell in common.
    """
    names, known, unknown = {}, {}, []
    for side in ('student', 'teacher'):
        value = student if side == 'student' else teacher
        found = {name: layout for name, layout in layouts.get(side, {}).items() if layout.bev
                 and all(x.ndim == 4 for x in leaves(_of(value, name)))}
        names[side] = [name for name, layout in found.items() if layout.range is not None]
        known[side] = next((layout for layout in found.values() if layout.range), None)
        unknown += [side] if found and known[side] is None else []
    if None in known.values():
        if len(unknown) == 1 and any(known.values()):
            print_log(f'{where}: the range of the {unknown[0]}\'s BEV maps is not known; they are '
                      'compared as if both sides covered the same metres', logger='current')
        return None
    maps = [x for name in names['student'] for x in leaves(_of(student, name))]
    mine, theirs = known['student'], known['teacher']
    maps.sort(key=mine.cell, reverse=True)
    if _close(mine.range, theirs.range):
        return Alignment(mine.range, mine, theirs, names)
    told = (f"the student's BEV maps cover {metres_text(mine.range)}, the teacher's "
            f'{metres_text(theirs.range)}')
    area = _common(mine.range, theirs.range)
    for x in maps:  # the coarsest first: its borders are borders of finer cells
        area = _whole_cells(mine, x, area)
        if area is None:
            raise ValueError(f'{told}: they have less than one cell of the student in common, so '
                             'there is nothing to compare. Take a teacher of the same place')
    if not all(_close(_whole_cells(mine, x, area), area) for x in maps):
        raise ValueError(f'{told}, and the cells of the student\'s maps '
                         f"({', '.join(str(tuple(x.shape[-2:])) for x in maps)}) have no common "
                         'borders near the common area; tap maps of one size')
    part = _size(area) / _size(mine.range)
    print_log(f'{where}: {told}; compared is {metres_text(area)}, {part:.0%} of the student\'s, '
              "where the teacher's maps are read at the centers of the student's cells",
              logger='current')
    return Alignment(area, mine, theirs, names)


def layouts_of(side_taps, known):
    """Layout by name of one side's taps: a dict of taps, or one of them."""
    if isinstance(side_taps, dict):
        return {name: known.get(written, UNKNOWN) for name, written in side_taps.items()}
    return {None: known.get(side_taps, UNKNOWN)}


def _of(value, name, default=None):
    if isinstance(value, dict):
        return value.get(name, default)
    return value


def _close(one, other):
    return one is not None and other is not None and all(
        abs(a - b) < _SAME for a, b in zip(one, other, strict=True))


def _common(one, other):
    return (max(one[0], other[0]), max(one[1], other[1]),
            min(one[2], other[2]), min(one[3], other[3]))


def _size(metres):
    return (metres[2] - metres[0]) * (metres[3] - metres[1])


def _inside(layout, x, area):
    """((first, end) column, (first, end) row) of the cells of ``x`` that lie whole in ``area``."""
    low = layout.range
    return [(max(math.ceil((area[axis] - low[axis]) / cell - _WHOLE), 0),
             min(math.floor((area[axis + 2] - low[axis]) / cell + _WHOLE), x.shape[-1 - axis]))
            for axis, cell in enumerate(layout.cell(x))]


def _whole_cells(layout, x, area):
    """The range of these cells; None if there are none."""
    places = _inside(layout, x, area)
    if any(end <= first for first, end in places):
        return None
    (left, right), (low, high) = places
    (x_min, y_min, *_), (width, height) = layout.range, layout.cell(x)
    return (x_min + left * width, y_min + low * height,
            x_min + right * width, y_min + high * height)
