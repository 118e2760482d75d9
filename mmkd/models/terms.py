"""A term: two taps, their connectors, a loss, a weight and its schedule.

One entry of ``distillations``, under the name it is logged by.
"""
import contextlib
import inspect

import torch
from torch import nn

from ..utils.hints import did_you_mean
from .mistakes import Mistakes
from .parts import build_part
from .schedules import Time
from .term_spec import TermSpec


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
        mistakes = Mistakes()
        self.student_connector = mistakes.catch('', self._connector, 'student', student, teacher)
        self.teacher_connector = mistakes.catch('', self._connector, 'teacher', teacher, student)
        if not mistakes:
            with torch.no_grad(), _evaluating(self):
                student, teacher = mistakes.catch('', self.connect, student, teacher) or (
                    student, teacher)
        self.loss = mistakes.catch('', build_part, spec.cfg['loss'], 'loss', dict(
            facts, student_channels=student.shape[1], teacher_channels=teacher.shape[1]))
        mistakes.raise_any()
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
        return build_part(cfg, f'{side}_connector', dict(in_channels=own.shape[1],
                                                         out_channels=other.shape[1]))

    def _check_channels(self, student, teacher):
        if student.shape[1] == teacher.shape[1] or not getattr(
                self.loss, 'same_channels', False):
            return
        both = {student.shape[1], teacher.shape[1]}
        if both == {1, 2} and getattr(self.loss, 'two_classes', False):
            return
        logits = all('logits' in self.spec.taps[side] or 'conv_seg' in self.spec.taps[side]
                     for side in self.spec.taps)
        cure = "add student_connector=dict(type='mmkd.ConvConnector')"
        if logits and both == {1, 2}:
            cure = ('one channel with a sigmoid and two with a softmax tell the same classes '
                    'apart, but of the losses on logits only mmkd.KDLoss compares them; use it, '
                    'or models with as many channels')
        elif logits:
            cure = ('student and teacher tell apart a different number of classes; use a teacher '
                    'trained on the same classes, or distil features')
        raise ValueError(
            f'{type(self.loss).__name__} needs equal channels, but the student gives '
            f'{student.shape[1]} and the teacher {teacher.shape[1]}: {cure}')

    def try_out(self, examples, extras):
        """Compute the loss once on the dry run's tensors, so that what fails, fails now."""
        with torch.no_grad(), _evaluating(self):
            try:
                value = self.compare(examples['student'], examples['teacher'], Time(0, 1), extras)
            except Exception as error:
                raise ValueError(
                    f'{type(self.loss).__name__} fails on tensors of shape '
                    f"{tuple(examples['student'].shape)} (student) and "
                    f"{tuple(examples['teacher'].shape)} (teacher): "
                    f'{type(error).__name__}: {error}') from error
        parts = value.values() if isinstance(value, dict) else [value]
        if not all(isinstance(part, torch.Tensor) for part in parts):
            raise ValueError(f'{type(self.loss).__name__} must return a tensor or a dict of '
                             f'tensors by name, not {value!r}')

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

    def factor(self, time):
        """The weight now: the term's own times its schedule's factor."""
        return self.spec.weight * self.spec.schedule(time)

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
        factor = self.factor(time)
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


@contextlib.contextmanager
def _evaluating(module):
    was = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was)


__all__ = ['Extras', 'Term', 'TermSpec']
