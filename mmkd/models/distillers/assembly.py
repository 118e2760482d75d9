"""From configs to student, teachers and terms, with every mistake told in one message."""
from dataclasses import dataclass

import torch
from mmengine.logging import print_log
from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn

from ...utils.configs import load_model_config
from ...utils.hints import refuse_unknown
from ..dry_run import DryRun
from ..first_step import FirstStep, why_untrained
from ..libraries import library_of
from ..mistakes import DISTILLATION, Mistakes
from ..preprocessing import same_preprocessing
from ..schedules import Time
from ..teacher import build_teacher, named_teachers
from ..terms import Extras, Term, TermSpec


@dataclass
class Assembly:
    """What a distiller is made of.

    ``counts`` and ``clone`` are for the student's Recorder, ``extras`` is what losses may
    ask for, ``first_step`` looks at each term once.
    """
    student: nn.Module
    teachers: dict
    terms: list
    counts: dict
    clone: set
    extras: dict
    first_step: FirstStep


def assemble(student, data_preprocessor, teacher, distillations, student_loss=True):
    """Build student, teachers and terms.

    Args:
        student (dict | nn.Module): Its config, or itself.
        data_preprocessor (dict, optional): For a student that has none of its own.
        teacher (dict): One teacher, or several by name.
        distillations (dict): name -> term.
        student_loss (bool): Whether training computes the student's own losses.

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
                teacher.own_inputs = mistakes.catch(
                    '', same_preprocessing, student.data_preprocessor,
                    teacher.model.data_preprocessor, teacher.name) is False
            if name in runs:
                teacher.counts, teacher.clone = runs[name].counts, runs[name].clone
        terms = [mistakes.catch(f'{spec.where}: ', _build_term, spec, runs, student, library)
                 for spec in specs]
    mistakes.raise_any(DISTILLATION)
    for teacher in teachers.values():
        print_log(str(teacher), logger='current')
    facts = library.facts(student)
    first_step = FirstStep(student, facts.get('ignore_index'), facts.get('num_classes'))
    return Assembly(student, teachers, terms, runs[None].counts, runs[None].clone,
                    library.EXTRAS, first_step)


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
    student = ROOT_MODELS.build(student)
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
    runs = {}
    if library is not None:
        runs[None] = mistakes.catch(
            '', DryRun, student, library, 'student',
            [s.taps['student'] for s in specs if 'student' in s.taps], True, student_loss)
    for name, teacher in teachers.items():
        runs[name] = mistakes.catch(
            '', DryRun, teacher.model, teacher.library, teacher.name,
            [s.taps['teacher'] for s in specs if s.teacher == name and 'teacher' in s.taps], False)
    return {owner: run for owner, run in runs.items() if run is not None}


def _build_term(spec, runs, student, library):
    mistakes, sides = Mistakes(), {}
    owners = dict(student=None) if spec.teacher is None else dict(student=None,
                                                                  teacher=spec.teacher)
    for side, owner in owners.items():
        written, run = spec.taps.get(side), runs.get(owner)
        if written is None or run is None:  # what is missing here is told already
            continue
        if written in run.errors:
            if side == 'teacher' and mistakes and written == spec.taps.get('student'):
                continue  # one tap= for both sides: one slip
            mistakes.add(f'{side} tap {written!r}: {run.errors[written]}')
        elif written in run.taps:
            sides[side] = run
        # What is off at first may be unfrozen later: the first active step looks again.
        if side == 'student' and written in run.taps and written not in run.trained \
                and spec.schedule(Time(0, 1)) != 0:
            mistakes.add(f'student tap {written!r} teaches the student nothing: '
                         + why_untrained(student, run.taps[written]))
    if len(sides) < 2 or not spec.can_be_built:
        mistakes.raise_any()
        return None
    taps = {side: run.taps[spec.taps[side]] for side, run in sides.items()}
    examples = {side: run.examples[spec.taps[side]].float() for side, run in sides.items()}
    term = mistakes.catch('', Term, spec, taps, examples, library.facts(student), library.EXTRAS)
    if term is not None:
        mistakes.catch('', term.try_out, examples, Extras(library.EXTRAS, *runs[None].batch))
    mistakes.raise_any()
    print_log(f'{spec.where}: ' + ', '.join(
        f"{side} '{taps[side]}' {tuple(examples[side].shape[1:])}" for side in taps)
        + f' at a {runs[None].size}-pixel input, weight {spec.weight:g}'
        + (f', which its schedule changes (logged as weight_{spec.name})' if spec.changes else ''),
        logger='current')
    return term
