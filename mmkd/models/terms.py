"""A term: what is tapped on both sides, connectors, a loss, a weight and its schedule.

One entry of ``distillations``, under the name it is logged by. A side taps one map
(N, C, H, W); a pyramid, which is a list of maps; or several of these by name. Levels of
pyramids are paired by their stride. A loss that compares one map is built once for each level,
and its values are added up; a loss whose class says ``pyramid = True`` gets all levels at once.
"""
import contextlib
import functools
import inspect

import torch
from torch import nn

from ..utils.hints import did_you_mean
from .alignment import ON_STUDENTS_GRID, align
from .channel_check import check_channels
from .connecting import channels, connect, connectors_of_side
from .losses.closed_form import zero_of
from .mistakes import Mistakes
from .no_trace import no_processes
from .pairing import Pairing, pair_levels
from .parts import build_part, find_class
from .schedules import Time
from .term_spec import TermSpec
from .values import count_levels, has_levels, leaves, level_of, shapes


class Term(nn.Module):
    """A built term.

    Args:
        spec (TermSpec): The checked config.
        taps (dict): side -> tap, or a dict of taps by name; resolved.
        examples (dict): side -> what they gave in the dry run.
        sizes (dict): side -> width of the dry run's image, or None.
        facts (dict): What is known of the models (num_classes, ...), for constructors that
            name it.
        extras (dict): What the loss's forward may ask for -> function.
        layouts (dict, optional): side -> Layout by the tap's name (None for the only one).

    Raises:
        ValueError: What does not fit, all of it.
    """

    def __init__(self, spec, taps, examples, sizes, facts, extras, layouts=None):
        super().__init__()
        self.spec, self.taps = spec, taps
        self.pairing = Pairing(None, {}) if spec.varying else pair_levels(
            examples, sizes, spec.levels, layouts)
        self.alignment = None
        student, teacher = self.take(examples['student'], examples['teacher'])
        self.alignment = align(layouts or {}, student, teacher, spec.where)
        student, teacher = self.take(examples['student'], examples['teacher'])
        mistakes = Mistakes()
        self.student_connector = mistakes.catch(
            '', connectors_of_side, spec, 'student', student, teacher, facts)
        self.teacher_connector = mistakes.catch(
            '', connectors_of_side, spec, 'teacher', teacher, student, facts)
        if not mistakes:
            with torch.no_grad(), _evaluating(self):
                student, teacher = mistakes.catch('', self.connect, student, teacher) or (
                    student, teacher)
        self.loss = mistakes.catch('', self._losses, student, teacher, facts)
        mistakes.raise_any()
        check_channels(self.one_loss, spec.taps, student, teacher)
        self.wants = self._wants(extras)
        self._parts = None  # names of the losses, of a loss that gives several
        self.level_values = None  # a list to be filled with the values of each level

    # ---- building -------------------------------------------------------------------------
    def _losses(self, student, teacher, facts):
        cfg, strides = self.spec.cfg['loss'], self.pairing.strides
        if not has_levels(student) or getattr(find_class(cfg, 'loss'), 'pyramid', False):
            self.by_level = False
            return build_part(cfg, 'loss', dict(
                facts, student_channels=channels(student), teacher_channels=channels(teacher),
                strides=strides))
        if self.spec.varying:
            raise ValueError('varying=True needs a loss that takes any number of maps (pyramid = '
                             f"True in its class), and {cfg['type']} takes one map")
        self.by_level = True
        return nn.ModuleList(build_part(cfg, 'loss', dict(
            facts, student_channels=channels(level_of(student, i)),
            teacher_channels=channels(level_of(teacher, i)), stride=strides[i]))
            for i in range(count_levels(student)))

    @property
    def one_loss(self):
        """The loss, or that of the first level: what all of them are."""
        return self.loss[0] if self.by_level else self.loss

    def _wants(self, extras):
        known = [*extras, 'progress']
        if self.pairing.strides is not None:
            known.append('stride' if self.by_level else 'strides')
        if self.alignment is not None:
            known.append('bev_range')
        # What its settings make unnecessary, a loss says itself.
        unused = getattr(self.one_loss, 'unused_extras', ())
        parameters = [p for p in inspect.signature(self.one_loss.forward).parameters.values()
                      if p.name not in unused][2:]
        for p in parameters:
            if p.name not in known and p.default is p.empty and p.kind not in (
                    p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise ValueError(
                    f'{type(self.one_loss).__name__} asks for {p.name!r}, which is not there: a '
                    f"loss can ask for {', '.join(known)}{did_you_mean(p.name, known)}")
        return [p.name for p in parameters if p.name in known]

    def try_out(self, examples, extras):
        """Compute the loss once on the dry run's tensors, so that what fails, fails now."""
        with torch.no_grad(), no_processes(), _evaluating(self):
            try:
                value = self.compare(examples['student'], examples['teacher'], Time(0, 1), extras)
            except _NoTensors:
                raise
            except Exception as error:
                raise ValueError(
                    f'{type(self.one_loss).__name__} fails on tensors of shape '
                    f"{shapes(examples['student'], batch=True)} (student) and "
                    f"{shapes(examples['teacher'], batch=True)} (teacher): "
                    f'{type(error).__name__}: {error}') from error
        self._parts = list(value) if isinstance(value, dict) else None

    # ---- running --------------------------------------------------------------------------
    def read(self, side, calls):
        """What this side taps, from what a Recorder has."""
        taps = self.taps[side]
        if isinstance(taps, dict):
            return {name: tap.read(calls) for name, tap in taps.items()}
        return taps.read(calls)

    @property
    def sources(self):
        """What is listened to on either side."""
        return {source for taps in self.taps.values()
                for tap in (taps.values() if isinstance(taps, dict) else [taps])
                for source in tap.sources}

    def take(self, student, teacher):
        """Of what is tapped, the levels that are compared, in the area that both sides have."""
        both = self.pairing.take('student', student), self.pairing.take('teacher', teacher)
        return both if self.alignment is None else self.alignment(*both)

    def connect(self, student, teacher):
        """Both sides after their connectors."""
        given = teacher
        if self.teacher_connector is not None:
            teacher = connect(self.teacher_connector, teacher, given)
        if self.student_connector is not None:
            student = connect(self.student_connector, student, given)
        return student, teacher

    def compare(self, student, teacher, time, extras):
        """The loss of what the connectors make of both sides, before weight and schedule."""
        s, t = self.connect(*self.take(student, teacher))
        known = dict(progress=time.progress, strides=self.pairing.strides)
        if self.alignment is not None:
            known['bev_range'] = self.alignment.area
        wanted = {name: known[name] if name in known else self._extra(name, extras)
                  for name in self.wants if name != 'stride'}
        if not self.by_level:
            return self._checked(self.loss, self.loss(s, t, **wanted))
        values = []
        for i, loss in enumerate(self.loss):
            if 'stride' in self.wants:
                wanted['stride'] = self.pairing.strides[i]
            values.append(self._checked(loss, loss(level_of(s, i), level_of(t, i), **wanted)))
        if self.level_values is not None:
            self.level_values[:] = values
        return functools.reduce(_add, values)

    def _extra(self, name, extras):
        value = extras(name, self.spec.teacher)
        if name in ON_STUDENTS_GRID and self.alignment is not None and self.alignment.changes:
            value = self.alignment.crop(value)
        return value

    def _checked(self, loss, value):
        parts = value if isinstance(value, dict) else {'': value}
        if not parts or not all(isinstance(part, torch.Tensor) for part in parts.values()):
            raise _NoTensors(f'{type(loss).__name__} must return a tensor or a dict of '
                              f'tensors by name, not {value!r}')
        return value

    def factor(self, time):
        """The weight now: the term's own times its schedule's factor."""
        return self.spec.weight * self.spec.schedule(time)

    def forward(self, student, teacher, time, extras, first_step=None):
        """The weighted losses of this term.

        Args:
            student (Tensor | list | dict): (N, Cs, Hs, Ws), a pyramid, or these by name.
            teacher (Tensor | list | dict): The same of the teacher, without gradient.
            time (Time): Where training is.
            extras (callable): name, teacher's name -> what the loss asks for.
            first_step (FirstStep, optional): Looks at the losses if they are computed.

        Returns:
            dict: ``loss_<term>`` or, if the loss gives several,
            ``loss_<term>_<name>``, each a scalar times weight and schedule.
        """
        factor = self.factor(time)
        if factor == 0:
            # Touch the connectors: DDP waits for a gradient of every parameter.
            zero = sum(zero_of(x) for x in (*leaves(student), *self.parameters())).float()
            if first_step is not None:
                first_step.is_off(self, time)
            return self._named(zero if self._parts is None else dict.fromkeys(self._parts, zero))
        value = self.compare(student, teacher, time, extras)
        if first_step is not None:
            first_step(self, value, student, teacher, extras)
        return self._named({key: item * factor for key, item in value.items()}
                           if isinstance(value, dict) else value * factor)

    def _named(self, value):
        """The losses by the names that are logged, the same ones whether the term is on or off."""
        if not isinstance(value, dict):
            return {f'loss_{self.spec.name}': value}
        return {f'loss_{self.spec.name}_{key}': item for key, item in value.items()}


class _NoTensors(ValueError):
    """What a loss returned is no loss."""


def _add(total, value):
    """What a loss gave at one more level; a part that is missing in one would be lost."""
    parts = [tuple(x) if isinstance(x, dict) else () for x in (total, value)]
    if set(parts[0]) != set(parts[1]):
        said = ' and '.join(', '.join(map(repr, names)) or 'one value' for names in parts)
        raise ValueError(f'a loss must give the same parts at every level, but gave {said}')
    if isinstance(value, dict):
        return {key: total[key] + item for key, item in value.items()}
    return total + value


@contextlib.contextmanager
def _evaluating(module):
    was = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was)


__all__ = ['Term', 'TermSpec']
