"""From configs to student, teachers and terms, with every mistake told in one message."""
import functools
from dataclasses import dataclass

import torch
from mmengine.logging import print_log
from torch import nn

from ...utils.configs import load_model_config
from ...utils.hints import refuse_unknown
from ..alignment import layouts_of
from ..dry_run import DryRun
from ..extras import Extras
from ..first_step import FirstStep, why_untrained
from ..libraries import build_network, library_of
from ..mistakes import DISTILLATION, Mistakes
from ..preprocessing import same_preprocessing
from ..schedules import Time
from ..taps import split_levels
from ..teacher import build_teacher, named_teachers
from ..terms import Term, TermSpec
from ..values import map_leaves, shapes
from .init_student import Heritage, plan_heritage


@dataclass
class Assembly:
    """What a distiller is made of.

    ``counts`` and ``clone`` are for the student's Recorder, ``shared`` has the student's taps
    that the teachers' forwards use, by name, ``extras`` is what losses may ask for,
    ``first_step`` looks at each term once, ``heritage`` is what the student starts from, or None.
    """
    student: nn.Module
    teachers: dict
    terms: list
    counts: dict
    clone: set
    shared: dict
    extras: dict
    first_step: FirstStep
    heritage: Heritage | None


def assemble(student, data_preprocessor, teacher, distillations, student_loss=True,
             init_student=False):
    """Build student, teachers and terms.

    Args:
        student (dict | nn.Module): Its config, or itself.
        data_preprocessor (dict, optional): For a student that has none of its own.
        teacher (dict): One teacher, or several by name.
        distillations (dict): name -> term.
        student_loss (bool): Whether training computes the student's own losses.
        init_student (bool | str | dict): See OfflineDistiller.

    Raises:
        ValueError: Lists everything that was found wrong.
        FileNotFoundError: A missing file is all that is wrong.
    """
    mistakes = Mistakes()
    student = mistakes.catch('', build_student, student, data_preprocessor)
    # What follows draws random numbers; the student's and the data's must stay those of a
    # run without a teacher.
    with torch.random.fork_rng(devices=[]):
        named = mistakes.catch('', named_teachers, teacher) or {}
        specs = mistakes.catch('', _specs, distillations, named, mistakes) or []
        teachers = _build_teachers(named, specs, mistakes)
        library = None if student is None else mistakes.catch('', library_of, student)
        runs = _dry_runs(student, library, teachers, specs, student_loss, mistakes)
        for name, teacher in teachers.items():
            if student is not None:
                teacher.own_inputs = not same_preprocessing(
                    student.data_preprocessor, teacher.model.data_preprocessor, teacher.reads)
            if name in runs:
                teacher.counts = _counts(runs[name], specs, 'teacher', name)
                teacher.clone = runs[name].clone
        terms = [mistakes.catch(f'{spec.where}: ', _build_term, spec, runs, student, library,
                                teachers)
                 for spec in specs]
        heritage = mistakes.catch('', plan_heritage, init_student, student, teachers, runs)
    mistakes.raise_any(DISTILLATION)
    for teacher in teachers.values():
        print_log(str(teacher), logger='current')
    run = runs[None]
    first_step = FirstStep(student, library.nothing_to_teach)
    shared = {name: run.taps[name] for name in _shared(library, specs, student)
              if name in run.taps}
    return Assembly(student, teachers, terms, _counts(run, specs, 'student', None), run.clone,
                    shared, library.EXTRAS, first_step, heritage)


def build_student(student, data_preprocessor, **others):
    """The student of a module, a model config or ``dict(config=...)``; ``others`` go into its
    config."""
    if isinstance(student, nn.Module):
        return student
    if not isinstance(student, dict):
        raise ValueError(f'student must be a model config or a module, not {student!r}')
    scope = None
    if 'config' in student and 'type' not in student:
        refuse_unknown('student', student, ['config'])
        student, scope = load_model_config(student['config'], 'student')
    student = dict(student, **others)
    if data_preprocessor is not None:
        student.setdefault('data_preprocessor', data_preprocessor)
    if scope is not None:
        student.setdefault('_scope_', scope)
    student = build_network(student)
    if 'distiller' in student._modules:
        raise ValueError("the student has a module named 'distiller', which mmkd needs")
    return student


def _specs(distillations, teachers, mistakes):
    if not isinstance(distillations, dict) or not any(
            cfg is not None for cfg in distillations.values()):
        raise ValueError('distillations must be a dict of terms by name, with one at least, not '
                         f'{distillations!r}')
    whole = [name for name, cfg in distillations.items() if isinstance(cfg, dict) and 'loss' in cfg]
    specs = [TermSpec(name, cfg, teachers, [other for other in whole if other != name])
             for name, cfg in distillations.items() if cfg is not None]
    mistakes.errors += [error for spec in specs for error in spec.mistakes.errors]
    return specs


def _build_teachers(named, specs, mistakes):
    teachers = {}
    for name, (label, cfg) in named.items():
        teacher = mistakes.catch('', build_teacher, label, cfg)
        if teacher is not None:
            teachers[name] = teacher
        # A term whose teacher is not known may have been meant for this one.
        if specs and all(spec.teacher not in (name, None) for spec in specs):
            mistakes.add(f'{label} is used by no term; remove it')
    return teachers


def _dry_runs(student, library, teachers, specs, student_loss, mistakes):
    """None (the student) or a teacher's name -> DryRun, of those that run."""
    runs, shared = {}, {}
    if library is not None:
        names = _shared(library, specs, student)
        wanted = [tap for spec in specs for tap in spec.written.get('student', ())] + names
        runs[None] = run = mistakes.catch(
            '', DryRun, student, library, 'student', wanted, True, student_loss)
        if run is not None:
            shared = {name: run.examples[name] for name in names if name in run.examples}
    for name, teacher in teachers.items():
        runs[name] = mistakes.catch(
            '', DryRun, teacher.model, teacher.library, teacher.name,
            [tap for s in specs if s.teacher == name for tap in s.written.get('teacher', ())],
            False, shared=shared)
    return {owner: run for owner, run in runs.items() if run is not None}


def _shared(library, specs, student):
    """Names of the student's taps that the teachers' taps need, as far as it has them."""
    taps = [split_levels(tap)[0] for spec in specs for tap in spec.written.get('teacher', ())
            if isinstance(tap, str)]
    has = library.tap_names(student) if library.SHARED else {}
    return list(dict.fromkeys(name for tap in taps
                              if (name := library.SHARED.get(tap)) in has))


def _counts(run, specs, side, teacher):
    """How often each source fires in a forward of this network; None where that may vary."""
    varying = {source for spec in specs if spec.varying and (side == 'student'
                                                             or spec.teacher == teacher)
               for tap in spec.written.get(side, ()) if tap in run.taps
               for source in run.taps[tap].sources}
    return {source: None if source in varying else count for source, count in run.counts.items()}


def _build_term(spec, runs, student, library, teachers):
    mistakes, sides = Mistakes(), {}
    owners = dict(student=None) if spec.teacher is None else dict(student=None,
                                                                  teacher=spec.teacher)
    for side, owner in owners.items():
        run = runs.get(owner)
        if side not in spec.taps or run is None:  # what is missing here is told already
            continue
        for written in spec.written[side]:
            if written in run.errors:
                if side == 'teacher' and mistakes and written in spec.written.get('student', ()):
                    continue  # one tap= for both sides: one slip
                mistakes.add(f'{side} tap {written!r}: {run.errors[written]}')
            # What is off at first may be unfrozen later: the first active step looks again.
            if side == 'student' and written in run.untrained and spec.schedule(Time(0, 1)) != 0:
                mistakes.add(f'student tap {written!r} teaches the student nothing: '
                             + why_untrained(student, run.taps[written]))
        if all(written in run.taps for written in spec.written[side]):
            sides[side] = run
    if len(sides) < 2 or not spec.can_be_built:
        mistakes.raise_any()
        return None

    def found(values):
        return {side: _by_name(spec.taps[side], getattr(run, values)) for side, run in
                sides.items()}

    taps, examples = found('taps'), map_leaves(torch.Tensor.float, found('examples'))
    facts = library.facts(student)
    teacher = teachers[spec.teacher]
    if hasattr(teacher.library, 'dense_head'):
        facts['teacher_head'] = functools.partial(teacher.library.dense_head, teacher.model)
    layouts = {side: layouts_of(spec.taps[side], run.layouts) for side, run in sides.items()}
    term = mistakes.catch('', Term, spec, taps, examples, {s: r.size for s, r in sides.items()},
                          facts, library.EXTRAS, layouts)
    if term is not None:
        run, shared = sides['student'], {name: runs[None].examples[name] for name in _shared(
            library, [spec], student) if name in runs[None].examples}
        given = {spec.teacher: (teacher.model, *sides['teacher'].batch)}
        mistakes.catch('', term.try_out, examples, Extras(
            library.EXTRAS, *run.batch, student, given, shared))
    mistakes.raise_any()
    print_log(f'{spec.where}: ' + ', '.join(
        f"{side} {_called(taps[side])} {shapes(examples[side])}" for side in taps)
        + (f' at a {runs[None].size}-pixel input' if runs[None].size else '')
        + f', weight {spec.weight:g}'
        + (f', which its schedule changes (logged as weight_{spec.name})' if spec.changes else ''),
        logger='current')
    return term


def _by_name(written, values):
    if isinstance(written, dict):
        return {name: values[item] for name, item in written.items()}
    return values[written]


def _called(taps):
    if isinstance(taps, dict):
        return ', '.join(f"{name} '{tap}'" for name, tap in taps.items())
    return f"'{taps}'"
