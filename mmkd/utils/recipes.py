"""Recipes: a method's terms with their published weights, by name, and several joined."""
import glob
import os
import re
import sys

from mmengine.config import Config

from .config_files import config_root, read_file
from .hints import did_you_mean
from .paths import search

#: folder of recipes -> the library for whose models they are
TASKS = dict(seg='mmseg', det='mmdet', det3d='mmdet3d')


def recipes(task='seg'):
    """Recipe name -> file of the recipes that come with mmkd.

    A name that several folders of recipes have (``cwd``) means the one of ``task``; the others'
    are called with their folder (``det/cwd``).
    """
    found = {}
    # False sorts before True: the task's own recipes come first.
    for name, file in sorted(_files().items(), key=lambda item: not item[0].startswith(f'{task}/')):
        plain = name.partition('/')[2]
        found[name if plain in found else plain] = file
    return found


def _files():
    """'<task>/<name>' -> file, of every recipe that comes with mmkd."""
    root = os.path.join(config_root(), '_base_', 'recipes')
    files = sorted(glob.glob(os.path.join(root, '*', '*.py')))
    return {os.path.splitext(os.path.relpath(file, root))[0].replace(os.sep, '/'): file
            for file in files}


def task_of(cfg):
    """The task of a config's model, by its library: 'seg', 'det' or 'det3d'.

    'seg' where the config names no library.
    """
    model = cfg.get('model')
    kind = model.get('type') if isinstance(model, dict) else None
    scopes = [str(kind).partition('.')[0], cfg.get('default_scope')]
    return next((task for scope in scopes for task, library in TASKS.items()
                 if scope == library), 'seg')


def join_recipes(*names, **changes):
    """The terms of one or several recipes, for ``distillations`` of a config or in code.

    Segmentation and detection have some recipes of the same name (``cwd``). In a config, the
    student's library decides (``default_scope`` in it or in its ``_base_``); in code, and in a
    config that names no library, it is segmentation's. ``seg/cwd`` and ``det/cwd`` are always
    what they say.

    Terms that two recipes have under the same name and with the same content are one. With
    another content, the first recipe's keeps its name and the later one's is called
    ``<recipe>_<term>``: ``join_recipes('cwd', 'at')`` gives ``logits``, ``at_logits`` and
    ``feature``.

    Args:
        names (str): Names of recipes, or paths of files with ``distillations``, beside the
            config that calls this or in the current folder; several in one string are
            separated by commas.
        changes (dict): What else than in the recipes, by term, as a child config would write
            it: ``logits=dict(weight=5.)``; ``None`` removes a term.

    Returns:
        dict: name -> term.

    Raises:
        FileNotFoundError: There is no such recipe; the message names near ones.
        ValueError: A recipe defines no terms, or a change is of a term that is not there.
    """
    # mmengine runs a config as a file of that name, with what its bases say in '_base_'.
    writer = sys._getframe(1)
    base = writer.f_globals.get('_base_')
    config = {**(base if isinstance(base, dict) else {}), **writer.f_globals}
    folder = os.path.dirname(os.path.abspath(writer.f_code.co_filename))
    return join_terms(names, changes, [folder, os.getcwd()], task_of(config))


def join_terms(names, changes=None, folders=(), task='seg'):
    """As :func:`join_recipes`, with paths looked for in ``folders``, for models of ``task``."""
    names = recipe_names(*names)
    terms, versions = {}, {}  # versions: name in a recipe -> the different terms of that name
    for name in names:
        for key, term in _read_terms(name, folders, task).items():
            known = versions.setdefault(key, [])
            if term in known:
                continue
            own = key
            if own in terms:
                own = f'{_stem(name)}_{key}'
            if own in terms:
                raise ValueError(f'recipe {name!r}: its term {key!r} would be called {own!r}, a '
                                 'name that is taken; rename it in that file')
            terms[own] = term
            known.append(term)
    return _changed(terms, changes or {}, names)


def recipe_names(*names):
    """The single names and paths in ``names``, each of which may hold several by commas."""
    single = []
    for name in names:
        if not isinstance(name, (str, os.PathLike)):
            raise ValueError(f'a recipe is a name or the path of a file, not {name!r}')
        name = os.fspath(name)
        single += [name] if os.path.isfile(name) else [
            part.strip() for part in name.split(',') if part.strip()]
    if not single:
        raise ValueError(f"no recipe is named (there is {', '.join(recipes())})")
    return list(dict.fromkeys(single))


def _stem(name):
    """What a recipe's terms are called after: letters, digits and underscores."""
    return re.sub(r'\W', '_', os.path.splitext(os.path.basename(name))[0])


def read_recipe(name, folders=(), task='seg'):
    """The Config of a recipe, from its name or the path of its file."""
    return read_file(_file(name, folders, task), 'recipe')


def _file(name, folders, task):
    known, files = recipes(task), _files()
    if name in known or name in files:
        return known.get(name) or files[name]
    if '::' in name:
        return name
    path = search(name, folders)
    folder, _, plain = name.replace(os.sep, '/').rpartition('/')
    a_name = folder in ('', *TASKS) and not plain.endswith('.py')
    if a_name and not os.path.isfile(path):
        raise FileNotFoundError(f"there is no recipe {name!r} (there is {', '.join(known)})"
                                + did_you_mean(name, files if folder else known))
    return path


def _read_terms(name, folders, task):
    terms = read_recipe(name, folders, task).get('distillations')
    if not isinstance(terms, dict):
        raise ValueError(f'recipe {name!r} defines no distillations'
                         + ('' if terms is None else f' by name: it has {terms!r}'))
    terms = {key: term for key, term in terms.to_dict().items() if term is not None}
    if not terms:
        raise ValueError(f'recipe {name!r} defines no distillations')
    return terms


def _changed(terms, changes, names):
    for name, change in changes.items():
        whole = isinstance(change, dict) and 'loss' in change
        if name not in terms and not whole:
            raise ValueError(f"there is no term {name!r} in {', '.join(map(repr, names))} (there "
                             f"is {', '.join(terms)}){did_you_mean(name, terms)}")
    cfg = Config(dict(terms=terms))
    cfg.merge_from_dict(dict(terms=changes))
    return {name: term for name, term in cfg.terms.to_dict().items() if term is not None}
