"""The number of classes of networks and data."""
import contextlib

from ..utils.configs import is_distiller, load_model_config, teachers_of, type_name

#: heads that tell apart something else than the data's classes: STDC's edges, SAN's words
_OTHER_TASKS = ('STDCHead', 'SideAdapterCLIPHead')


def class_problems(cfg, contents):
    """Messages on heads whose number of classes is not the data's.

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
        # One class for two: a sigmoid's score of the second.
        wrong = {path: number for path, number in heads(model, owner).items()
                 if number != classes and (number, classes) != (1, 2)}
        if wrong:
            problems.append(
                f"{', '.join(f'{path}.num_classes={number}' for path, number in wrong.items())}, "
                f'but {found.kind} of {found.loader} has {classes} classes'
                + (': its scores cannot teach these; use a teacher of the same classes, or '
                   'distil features' if owner.startswith('teacher') else
                   ': set num_classes in its config'))
    return problems


def _networks(cfg):
    """(owner, model config) of the student, and of teachers whose scores are distilled."""
    model = cfg.get('model')
    if not is_distiller(model):
        return [('model', model)] if isinstance(model, dict) else []
    sources = {'model.student': model}
    for name, source in teachers_of(model).items():
        if _scores(model, name):
            owner = 'teacher' if source is model['teacher'] else f'teacher.{name}'
            sources[owner] = source.get('config')
    networks = []
    for owner, source in sources.items():
        # What is wrong with a config is told when the distiller is built, with all the rest.
        with contextlib.suppress(ValueError, FileNotFoundError):
            networks.append((owner, load_model_config(source)[0]))
    return networks


def _scores(model, teacher):
    """Does a term compare this teacher's class scores with the student's as they are?"""
    return any(term.get('teacher_tap', term.get('tap')) in ('logits', 'aux_logits')
               and term.get('teacher', teacher) == teacher
               and not any(term.get(f'{side}_connector') for side in ('student', 'teacher'))
               for term in (model.get('distillations') or {}).values() if isinstance(term, dict))


def heads(model, path=''):
    """path -> ``num_classes`` of every head in a model config that gives scores of classes."""
    found = {}
    if isinstance(model, dict):
        kind, number = type_name(model), model.get('num_classes')
        if isinstance(number, int) and kind.endswith('Head') and kind not in _OTHER_TASKS:
            found[path] = number
        for key, value in model.items():
            found.update(heads(value, f'{path}.{key}'))
    elif isinstance(model, (list, tuple)):
        for index, value in enumerate(model):
            found.update(heads(value, f'{path}[{index}]'))
    return found
