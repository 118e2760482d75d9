"""A term's config, checked before any model is there."""
import math

from ..utils.hints import did_you_mean, nearest, refuse_unknown
from .mistakes import Mistakes
from .parts import find_class
from .schedules import build_schedule, constant

_KEYS = ('loss', 'tap', 'student_tap', 'teacher_tap', 'student_connector', 'teacher_connector',
         'weight', 'schedule', 'teacher')


class TermSpec:
    """A term's config, checked as far as it can be without the models.

    ``mistakes`` has all that is wrong: an unknown or missing key, or a value that makes no
    sense. What is right can be used all the same, to find what else is wrong.

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
        self.parts_exist = False
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
        for role in ('student_connector', 'teacher_connector'):
            if self.cfg.get(role) is not None:
                self.mistakes.catch(f'{self.where}: ', find_class, self.cfg[role], role)
        self.parts_exist = len(self.mistakes.errors) == before

    def _tap(self, side):
        given = self.cfg.get(f'{side}_tap', self.cfg.get('tap'))
        if given is None:
            self.mistakes.add(f'{self.where} has no {side} tap: set tap= (both sides) or '
                              f'{side}_tap=')
        elif not isinstance(given, str):
            self._wrong(f'{side} tap must be a string, not {given!r}')
        else:
            return given
        return None

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
