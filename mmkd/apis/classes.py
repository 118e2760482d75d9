"""The classes of networks and data: how many, and in which order."""
import contextlib
import logging
import os

from mmengine.logging import print_log

from ..models.taps import split_levels
from ..models.term_spec import connectors_of
from ..utils.checkpoint import safe_load
from ..utils.configs import is_distiller, load_model_config, teachers_of, type_name

#: heads that tell apart something else than the data's classes: STDC's edges, SAN's and
#: GroundingDINO's words, HTC's stuff, persons seen again
_OTHER_TASKS = ('STDCHead', 'SideAdapterCLIPHead', 'GroundingDINOHead', 'FusedSemanticHead',
                'LinearReIDHead')
#: parts of detectors that tell things from the background
_BINARY = ('rpn_head',)
#: taps that give a score of each class
_SCORES = {'logits', 'aux_logits', 'cls', 'roi_cls', 'query_cls'}


def class_problems(cfg, contents):
    """Messages on heads whose number of classes is not the data's, and on teachers that were
    trained on the same classes in another order.

    Args:
        cfg (Config): The training's config.
        contents (list of Contents): What is in its datasets.
    """
    known = {}
    for found in contents:
        if found.classes is not None:
            known.setdefault(found.classes, found)
    if len(known) != 1:  # sets of different classes, or none that says: no claim
        return []
    (classes, found), problems = next(iter(known.items())), []
    for owner, model in _networks(cfg):
        wrong = {path: number for path, number in heads(model, owner).items()
                 if number != classes and not _one_for_two(path, number, classes)}
        if wrong:
            problems.append(
                f"{', '.join(f'{path}.num_classes={number}' for path, number in wrong.items())}, "
                f'but {found.kind} of {found.loader} has {classes} classes'
                + (': its scores cannot teach these; use a teacher of the same classes, or '
                   'distil features' if owner.startswith('teacher') else
                   ': set num_classes in its config'))
    if found.names:
        problems += _in_another_order(cfg.get('model'), found)
    return problems


def _one_for_two(path, number, classes):
    """One score for two classes: a segmentor's sigmoid of the second."""
    return (number, classes) == (1, 2) and ('decode_head' in path or 'auxiliary_head' in path)


def _in_another_order(model, found):
    """Messages on teachers of scores whose checkpoints name the data's classes in another order.

    Other names may mean the same, and are told as a warning.
    """
    problems = []
    for owner, source in _teachers_of_scores(model).items():
        named = _classes_in(source.get('checkpoint'))
        if named is None or len(named) != len(found.names):
            continue
        differ = [(i, *pair) for i, pair in enumerate(zip(named, found.names, strict=True))
                  if pair[0] != pair[1]]
        if not differ:
            continue
        text = (f'{owner} was trained on the classes {_some(named)} (so says its checkpoint), but '
                f'{found.where} has {_some(found.names)}: class {differ[0][0]} is '
                f'{differ[0][1]!r} to the one and {differ[0][2]!r} to the other')
        if set(named) == set(found.names):
            problems.append(f"{text}. Give the student's data sets the teacher's order of classes")
        else:
            print_log(f'{text}. If these mean the same, all is well', logger='current',
                      level=logging.WARNING)
    return problems


def _classes_in(checkpoint):
    """The names of the classes that a checkpoint file says it was trained on, or None."""
    if not isinstance(checkpoint, str) or not os.path.isfile(checkpoint):
        return None
    with contextlib.suppress(Exception):  # what is wrong with it is told when it is loaded
        meta = safe_load(checkpoint).get('meta') or {}
        names = (meta.get('dataset_meta') or {}).get('classes') or meta.get('CLASSES')
        if names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def _some(names):
    return ', '.join(names[:4]) + (' ...' if len(names) > 4 else '')


def _teachers_of_scores(model):
    """{how messages call it: dict} of the teachers whose class scores are distilled."""
    if not is_distiller(model):
        return {}
    return {'teacher' if source is model['teacher'] else f'teacher.{name}': source
            for name, source in teachers_of(model).items() if _scores(model, name)}


def _networks(cfg):
    """(owner, model config) of the student, and of teachers whose scores are distilled."""
    model = cfg.get('model')
    if not is_distiller(model):
        return [('model', model)] if isinstance(model, dict) else []
    sources = {'model.student': model}
    for owner, source in _teachers_of_scores(model).items():
        sources[owner] = source.get('config')
    networks = []
    for owner, source in sources.items():
        # What is wrong with a config is told when the distiller is built, with all the rest.
        with contextlib.suppress(ValueError, FileNotFoundError):
            networks.append((owner, load_model_config(source)[0]))
    return networks


def _scores(model, teacher):
    """Does a term compare this teacher's class scores with the student's as they are?"""
    return any(_SCORES & set(_as_they_are(term)) and term.get('teacher', teacher) == teacher
               for term in (model.get('distillations') or {}).values() if isinstance(term, dict))


def _as_they_are(term):
    """The names that a term taps of its teacher, without what a connector stands before."""
    sides = {side: term.get(f'{side}_tap', term.get('tap')) for side in ('student', 'teacher')}
    roles = {role for side, tap in sides.items() for role in connectors_of(term, side, tap)}
    if roles & {'student_connector', 'teacher_connector'}:  # of all that is tapped
        return []
    changed, tap = {role.partition('.')[2] for role in roles}, sides['teacher']
    taps = tap.items() if isinstance(tap, dict) else [(None, tap)]
    return [split_levels(str(one))[0] for name, one in taps if name not in changed]


def heads(model, path=''):
    """path -> ``num_classes`` of every head in a model config that gives scores of classes."""
    found = {}
    if isinstance(model, dict):
        kind, number = type_name(model), model.get('num_classes')
        if isinstance(number, int) and kind.endswith('Head') and kind not in _OTHER_TASKS:
            found[path] = number
        for key, value in model.items():
            if key in _BINARY:
                continue
            found.update(heads(value, f'{path}.{key}'))
    elif isinstance(model, (list, tuple)):
        for index, value in enumerate(model):
            found.update(heads(value, f'{path}[{index}]'))
    return found
