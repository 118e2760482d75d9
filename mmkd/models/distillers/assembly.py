"""From configs to teachers and terms, with every mistake told in one message."""
from dataclasses import dataclass

from mmengine.logging import print_log

from ..dry_run import DryRun
from ..first_step import FirstStep, why_untrained
from ..libraries import library_of
from ..preprocessing import same_preprocessing
from ..schedules import Time
from ..teacher import build_teacher, named_teachers
from ..terms import Extras, Term, TermSpec


@dataclass
class Assembly:
    """What a distiller is made of besides its student.

    ``counts`` and ``clone`` are for the student's Recorder, ``extras`` is what losses may
    ask for, ``first_step`` looks at each term once.
    """
    teachers: dict
    terms: list
    counts: dict
    clone: set
    extras: dict
    first_step: FirstStep


class Mistakes:
    """Collects what is wrong, to raise it together."""

    def __init__(self):
        self.errors = []

    def catch(self, prefix, function, *args):
        """``function(*args)``, or None after noting its error."""
        try:
            return function(*args)
        except Exception as error:  # a user's class may raise anything
            text = str(error) or type(error).__name__
            if not isinstance(error, (ValueError, FileNotFoundError)):
                text = f'{type(error).__name__}: {text}'
            self.errors.append((prefix + text, error))
        return None

    def add(self, text):
        self.errors.append((text, None))

    def raise_any(self):
        if not self.errors:
            return
        cause = self.errors[0][1]
        if len(self.errors) == 1 and isinstance(cause, FileNotFoundError):
            raise cause
        raise ValueError('\n'.join(['this distillation cannot work:']
                                   + [f'  - {text}' for text, _ in self.errors])) from cause


def assemble(student, teacher_cfg, distillations):
    """Build teachers and terms.

    Raises:
        ValueError: Lists everything that was found wrong.
        FileNotFoundError: A missing file is all that is wrong.
    """
    mistakes, library = Mistakes(), library_of(student)
    named = named_teachers(teacher_cfg)
    specs = _specs(distillations, named, mistakes)
    teachers = {}
    for name, (label, cfg) in named.items():
        teacher = mistakes.catch('', build_teacher, label, cfg)
        if teacher is not None:
            teachers[name] = teacher
        if specs and not any(spec.teacher == name for spec in specs):
            mistakes.add(f'{label} is used by no term; remove it')

    runs = {None: mistakes.catch('', DryRun, student, library, 'student',
                                 [s.taps['student'] for s in specs], True)}
    for name, teacher in teachers.items():
        run = runs[name] = mistakes.catch(
            '', DryRun, teacher.model, teacher.library, teacher.name,
            [s.taps['teacher'] for s in specs if s.teacher == name], False)
        if run is not None:
            teacher.counts, teacher.clone = run.counts, run.clone
        same = mistakes.catch('', same_preprocessing, student.data_preprocessor,
                              teacher.model.data_preprocessor, teacher.name)
        teacher.own_inputs = same is False
    terms = [mistakes.catch(f'term {spec.name!r}: ', _build_term, spec, runs, student, library)
             for spec in specs]
    mistakes.raise_any()
    facts = library.facts(student)
    first_step = FirstStep(student, facts.get('ignore_index'), facts.get('num_classes'))
    return Assembly(teachers, terms, runs[None].counts, runs[None].clone, library.EXTRAS,
                    first_step)


def _specs(distillations, teachers, mistakes):
    if not isinstance(distillations, dict) or not any(
            cfg is not None for cfg in distillations.values()):
        raise ValueError('distillations must be a dict of terms by name, with one at least, not '
                         f'{distillations!r}')
    specs = [mistakes.catch('', TermSpec, name, cfg, teachers)
             for name, cfg in distillations.items() if cfg is not None]
    return [spec for spec in specs if spec is not None]


def _build_term(spec, runs, student, library):
    sides = {side: runs[owner] for side, owner in (('student', None), ('teacher', spec.teacher))
             if runs.get(owner) is not None}  # what could not be built or run is told already
    for side, run in sides.items():
        if spec.taps[side] in run.errors:
            raise ValueError(f'{side} tap {spec.taps[side]!r}: {run.errors[spec.taps[side]]}')
    written = spec.taps['student']
    # What is off at first may be unfrozen later: the first active step looks again.
    if written not in runs[None].trained and spec.schedule(Time(0, 1)) != 0:
        raise ValueError(f'student tap {written!r} teaches the student nothing: '
                         + why_untrained(student, runs[None].taps[written]))
    if len(sides) < 2:
        return None
    taps = {side: run.taps[spec.taps[side]] for side, run in sides.items()}
    examples = {side: run.examples[spec.taps[side]].float() for side, run in sides.items()}
    term = Term(spec, taps, examples, library.facts(student), library.EXTRAS)
    term.try_out(examples, Extras(library.EXTRAS, *runs[None].batch))
    print_log(f'term {spec.name!r}: ' + ', '.join(
        f"{side} '{taps[side]}' {tuple(examples[side].shape[1:])}" for side in taps)
        + f' at a {runs[None].size}-pixel input', logger='current')
    return term
