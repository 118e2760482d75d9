"""A term's config, checked before any model is there."""
import math

from ..utils.hints import did_you_mean, nearest, refuse_unknown
from .mistakes import Mistakes
from .parts import find_class
from .schedules import build_schedule, constant

_KEYS = ('loss', 'tap', 'student_tap', 'teacher_tap', 'student_connector', 'teacher_connector',
         'weight', 'schedule', 'teacher', 'levels', 'varying')


class TermSpec:
    """A term's config, checked as far as it can be without the models.

    ``mistakes`` has all that is wrong: an unknown or missing key, or a value that makes no
    sense. What is right can be used all the same, to find what else is wrong.

    ``taps`` has what each side taps: a string, a tuple of strings (a pyramid from several
    modules), or a dict of these by name. ``levels`` is 'all', 'common' or a tuple of strides.
    ``varying`` says that a tapped module may run another number of times in every step; nothing
    is paired then.

    Args:
        name (str): The term's name.
        cfg (dict): The term.
        teachers (iterable of str): Names of the teachers.
        others (iterable of str): Names of terms that ``cfg`` may have been meant for.
    """

    def __init__(self, name, cfg, teachers, others=()):
        self.name, self.cfg, self.mistakes = name, cfg, Mistakes()
        self.where = f'term {name!r}'
        self.taps, self.teacher, self.weight, self.schedule = {}, None, 1., constant
        self.levels, self.varying, self.parts_exist = 'all', False, False
        if not name.isidentifier():
            self._wrong('a name is letters, digits and underscores')
        if not isinstance(cfg, dict):
            self.cfg = {}
            self.mistakes.add(f'{self.where} must be a dict with tap=, loss= and weight=, not '
                              f'{cfg!r}')
            return
        if cfg.get('loss') is None and nearest(name, others):
            # Not a term: an override of one, with a slip in its name.
            self.mistakes.add(f'there is no {self.where}{did_you_mean(name, others)} (a term of '
                              'its own would need loss= and tap=)')
            return
        for key in cfg:
            self.mistakes.catch('', refuse_unknown, self.where, [key], _KEYS)
        self.taps = {side: tap for side in ('student', 'teacher')
                     if (tap := self._tap(side)) is not None}
        self.teacher = self._teacher(teachers)
        self._check_parts(others)
        self.weight = self._weight()
        self.levels = self._levels()
        self.varying = cfg.get('varying', False)
        if not isinstance(self.varying, bool):
            self._wrong(f'varying must be True or False, not {self.varying!r}')
        elif self.varying and self.levels != 'all':
            self._wrong(f"levels={cfg['levels']!r} cannot be with varying=True: maps whose number "
                        "changes have no fixed levels. Take some of them with a slice, 'path[:4]'")
        schedule = self.mistakes.catch(f'{self.where}: ', build_schedule, cfg.get('schedule'))
        self.schedule = schedule or constant

    @property
    def changes(self):
        """Whether the schedule changes the weight."""
        return (self.cfg.get('schedule') or {}).get('type', 'constant') != 'constant'

    def _wrong(self, text):
        self.mistakes.add(f'{self.where}: {text}')

    @property
    def can_be_built(self):
        """Whether enough is right to build the term, and find what else is wrong."""
        return self.parts_exist and self.teacher is not None and len(self.taps) == 2

    def _check_parts(self, others):
        before = len(self.mistakes.errors)
        loss = self.cfg.get('loss')
        if not isinstance(loss, dict) or 'type' not in loss:
            hint = f" (the terms with a loss are {', '.join(map(repr, others))})" if others else ''
            self.mistakes.add(f"{self.where} needs loss=dict(type='mmkd....'){hint}")
        else:
            self.mistakes.catch(f'{self.where}: ', find_class, loss, 'loss')
        for side in ('student', 'teacher'):
            for role, cfg in connectors_of(self.cfg, side, self.taps.get(side)).items():
                if isinstance(cfg, dict):
                    cfg = {key: value for key, value in cfg.items() if key != 'shared'}
                self.mistakes.catch(f'{self.where}: ', find_class, cfg, role)
        self.parts_exist = len(self.mistakes.errors) == before

    def _tap(self, side):
        given = self.cfg.get(f'{side}_tap', self.cfg.get('tap'))
        if given is None:
            self.mistakes.add(f'{self.where} has no {side} tap: set tap= (both sides) or '
                              f'{side}_tap=')
        elif isinstance(given, dict) and given:
            parts = {key: _written(item) for key, item in given.items()}
            if all(item is not None and isinstance(key, str) for key, item in parts.items()):
                return parts
            self._wrong(f'{side} tap must have a string or a list of strings for each name, not '
                        f'{dict(given)!r}')
        elif _written(given) is None:
            self._wrong(f'{side} tap must be a string, a list of strings (the levels of a pyramid) '
                        f'or a dict of these by name, not {given!r}')
        else:
            return _written(given)
        return None

    @property
    def written(self):
        """side -> the taps of that side as they are written, one by one."""
        return {side: list(tap.values()) if isinstance(tap, dict) else [tap]
                for side, tap in self.taps.items()}

    def _levels(self):
        levels = self.cfg.get('levels', 'all')
        if levels in ('all', 'common'):
            return levels
        if isinstance(levels, (list, tuple)) and levels and all(
                isinstance(stride, (int, float)) and stride > 0 for stride in levels):
            return tuple(levels)
        self._wrong(f"levels must be 'all', 'common' or a list of strides, not {levels!r}")
        return 'all'

    def _teacher(self, teachers):
        name = self.cfg.get('teacher')
        if name is None and len(teachers) > 1:
            self._wrong(f'there are {len(teachers)} teachers; choose one with teacher= '
                        f"({', '.join(map(repr, teachers))})")
        elif name is None:
            return next(iter(teachers), None)
        elif name not in teachers:
            self._wrong(f"there is no teacher {name!r} (there is "
                        f"{', '.join(map(repr, teachers))}){did_you_mean(name, teachers)}")
            return None
        return name

    def _weight(self):
        weight = self.cfg.get('weight', 1.)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) \
                or not math.isfinite(weight):
            self._wrong(f'weight must be a finite number, not {weight!r}')
        elif weight == 0:
            self._wrong('weight is 0, so the term does nothing; give it a weight, or remove it '
                        f'with distillations=dict({self.name}=None)')
        else:
            return float(weight)
        return 1.


def _written(tap):
    """A string, or a tuple of strings; None if it is neither."""
    if isinstance(tap, (list, tuple)) and tap and all(isinstance(item, str) for item in tap):
        return tuple(tap)
    return tap if isinstance(tap, str) else None


def connectors_of(cfg, side, tap):
    """How messages call it -> config, of the connectors of one side: one for all that is
    tapped, or by the names of its taps."""
    role = f'{side}_connector'
    given = cfg.get(role)
    if given is None:
        return {}
    by_name = isinstance(given, dict) and isinstance(tap, dict) and 'type' not in given
    if not by_name:
        return {role: given}
    return {f'{role}.{name}': item for name, item in given.items() if item is not None}
