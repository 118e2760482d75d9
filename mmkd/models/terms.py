"""A term: two taps, their connectors, a loss, a weight and its schedule.

One entry of ``distillations``, under the name it is logged by.
"""
import contextlib
import inspect
import math

import torch
from torch import nn

from ..registry import MODELS
from ..utils.hints import did_you_mean, refuse_unknown
from .schedules import Time, build_schedule
from .taps import parse_tap

_KEYS = ('loss', 'tap', 'student_tap', 'teacher_tap', 'student_connector', 'teacher_connector',
         'weight', 'schedule', 'teacher')


class TermSpec:
    """A term's config, checked as far as it can be without the models.

    Raises:
        ValueError: Unknown or missing key, or a value that makes no sense.
    """

    def __init__(self, name, cfg, teachers):
        where = f'term {name!r}'
        if not name.isidentifier():
            raise ValueError(f'{where}: a name is letters, digits and underscores')
        if not isinstance(cfg, dict):
            raise ValueError(f'{where} must be a dict with tap=, loss= and weight=, not {cfg!r}')
        refuse_unknown(where, cfg, _KEYS)
        if not isinstance(cfg.get('loss'), dict) or 'type' not in cfg['loss']:
            raise ValueError(f"{where} needs loss=dict(type='mmkd....')")
        self.name, self.cfg = name, cfg
        self.taps = {side: self._tap(where, side) for side in ('student', 'teacher')}
        self.teacher = self._teacher(where, teachers)
        weight = cfg.get('weight', 1.)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) \
                or not math.isfinite(weight):
            raise ValueError(f'{where}: weight must be a finite number, not {weight!r}')
        if weight == 0:
            raise ValueError(f'{where}: weight is 0, so the term does nothing; give it a weight, '
                             f'or remove it with distillations=dict({name}=None)')
        self.weight = float(weight)
        try:
            self.schedule = build_schedule(cfg.get('schedule'))
        except ValueError as error:
            raise ValueError(f'{where}: {error}') from None

    def _tap(self, where, side):
        given = self.cfg.get(f'{side}_tap', self.cfg.get('tap'))
        if given is None:
            raise ValueError(f'{where} has no {side} tap: set tap= (both sides) or {side}_tap=')
        if not isinstance(given, str):
            raise ValueError(f'{where}: {side} tap must be a string, not {given!r}')
        return given

    def _teacher(self, where, teachers):
        name = self.cfg.get('teacher')
        if name is None:
            if len(teachers) > 1:
                raise ValueError(f"{where}: there are {len(teachers)} teachers; choose one with "
                                 f"teacher= ({', '.join(map(repr, teachers))})")
            return next(iter(teachers))
        if name not in teachers:
            raise ValueError(f"{where}: there is no teacher {name!r} (there is "
                             f"{', '.join(map(repr, teachers))}){did_you_mean(name, teachers)}")
        return name


class Term(nn.Module):
    """A built term.

    Args:
        spec (TermSpec): The checked config.
        taps (dict): side -> Tap, resolved.
        examples (dict): side -> tensor (N, C, H, W) from the dry run.
        facts (dict): What the student's library knows (num_classes, ...), for
            constructors that name it.
        extras (dict): What the loss's forward may ask for -> function.
    """

    def __init__(self, spec, taps, examples, facts, extras):
        super().__init__()
        self.spec, self.taps = spec, taps
        student, teacher = examples['student'], examples['teacher']
        self.student_connector = self._connector('student', student, teacher)
        self.teacher_connector = self._connector('teacher', teacher, student)
        with torch.no_grad(), _evaluating(self):
            student, teacher = self.connect(student, teacher)
        self.loss = _build(spec.cfg['loss'], 'loss', dict(
            facts, student_channels=student.shape[1], teacher_channels=teacher.shape[1]))
        self._check_channels(student, teacher)
        parameters = list(inspect.signature(self.loss.forward).parameters.values())[2:]
        known = [*extras, 'progress']
        self.wants = [p.name for p in parameters if p.name in known]
        for p in parameters:
            if p.name not in known and p.default is p.empty and p.kind not in (
                    p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise ValueError(
                    f'{type(self.loss).__name__} asks for {p.name!r}, which is not there: a loss '
                    f"can ask for {', '.join(known)}{did_you_mean(p.name, known)}")

    def _connector(self, side, own, other):
        cfg = self.spec.cfg.get(f'{side}_connector')
        if cfg is None:
            return None
        return _build(cfg, f'{side}_connector', dict(in_channels=own.shape[1],
                                                     out_channels=other.shape[1]))

    def _check_channels(self, student, teacher):
        if student.shape[1] == teacher.shape[1] or not getattr(
                self.loss, 'same_channels', False):
            return
        logits = all('logits' in self.spec.taps[side] or 'conv_seg' in self.spec.taps[side]
                     for side in self.spec.taps)
        cure = ('student and teacher tell apart a different number of classes; use a teacher '
                'trained on the same classes, or distil features' if logits else
                "add student_connector=dict(type='mmkd.ConvConnector')")
        raise ValueError(
            f'{type(self.loss).__name__} needs equal channels, but the student gives '
            f'{student.shape[1]} and the teacher {teacher.shape[1]}: {cure}')

    def try_out(self, examples, extras):
        """Compute the loss once on the dry run's tensors, so that what fails, fails now."""
        with torch.no_grad(), _evaluating(self):
            try:
                self.compare(examples['student'], examples['teacher'], Time(0, 1), extras)
            except Exception as error:
                raise ValueError(
                    f'{type(self.loss).__name__} fails on tensors of shape '
                    f"{tuple(examples['student'].shape)} (student) and "
                    f"{tuple(examples['teacher'].shape)} (teacher): "
                    f'{type(error).__name__}: {error}') from error

    def connect(self, student, teacher):
        """Both sides after their connectors."""
        if self.student_connector is not None:
            student = self.student_connector(student)
        if self.teacher_connector is not None:
            teacher = self.teacher_connector(teacher)
        return student, teacher

    def compare(self, student, teacher, time, extras):
        """The loss of what the connectors make of both sides, before weight and schedule."""
        wanted = {name: time.progress if name == 'progress' else extras(name)
                  for name in self.wants}
        return self.loss(*self.connect(student, teacher), **wanted)

    def forward(self, student, teacher, time, extras, first_step=None):
        """The weighted losses of this term.

        Args:
            student (Tensor): (N, Cs, Hs, Ws).
            teacher (Tensor): (N, Ct, Ht, Wt), without gradient.
            time (Time): Where training is.
            extras (callable): name -> what the loss asks for.
            first_step (FirstStep, optional): Looks at the losses if they are computed.

        Returns:
            dict: ``loss_<term>`` or, if the loss gives several,
            ``loss_<term>_<name>``, each a scalar times weight and schedule.
        """
        factor = self.spec.weight * self.spec.schedule(time)
        if factor == 0:
            # Touch the connectors: DDP waits for a gradient of every parameter.
            # (times 0 before the sum, which could overflow in fp16.)
            zero = sum((x * 0).sum() for x in (student, *self.parameters()))
            return {f'loss_{self.spec.name}': zero.float()}
        value = self.compare(student, teacher, time, extras)
        if first_step is not None:
            first_step(self, value, student, teacher, extras)
        if not isinstance(value, dict):
            return {f'loss_{self.spec.name}': value * factor}
        return {f'loss_{self.spec.name}_{key}': item * factor for key, item in value.items()}


class Extras:
    """What losses ask for, made once per step."""

    def __init__(self, makers, *batch):
        self._makers, self._batch, self._made = makers, batch, {}

    def __call__(self, name):
        if name not in self._made:
            self._made[name] = self._makers[name](*self._batch)
        return self._made[name]


def resolve_tap(text, names):
    """The taps to try for what the user wrote: a semantic name's, or the one itself.

    A trailing ``[i]`` or ``:input`` means the module of that name, not the
    semantic name.
    """
    return [parse_tap(tap) for tap in names.get(text, [text])]


def _build(cfg, role, facts):
    """Build a loss or connector; constructor arguments that ``facts`` knows are filled in."""
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise ValueError(f"{role} must be a dict with a type, not {cfg!r}")
    cfg = dict(cfg)
    cls = cfg['type'] if inspect.isclass(cfg['type']) else MODELS.get(cfg['type'])
    if cls is None:
        known = [f'mmkd.{name}' for name in MODELS.module_dict]
        raise ValueError(f"{role}: type {cfg['type']!r} is not registered"
                         f"{did_you_mean(cfg['type'], known)}; a class of your own needs "
                         '@mmkd.registry.MODELS.register_module() and its module in '
                         'custom_imports')
    known = inspect.signature(cls).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in known.values())
    if not open_ended:
        refuse_unknown(f'{role}: {cls.__name__}', [key for key in cfg if key != 'type'], known,
                       'argument')
    for key, value in facts.items():
        if key in known and cfg.get(key) is None:
            cfg[key] = value
    cfg['type'] = cls
    return MODELS.build(cfg)


@contextlib.contextmanager
def _evaluating(module):
    was = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was)
