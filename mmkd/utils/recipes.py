"""Recipes: a method's terms with their published weights, by name, and several joined."""
import glob
import os
import re
import sys

from mmengine.config import Config

from .config_files import config_root, read_file
from .hints import did_you_mean
from .paths import search


def recipes():
    """Recipe name -> file of the recipes that come with mmkd."""
    files = glob.glob(os.path.join(config_root(), '_base_', 'recipes', '*', '*.py'))
    return {os.path.splitext(os.path.basename(f))[0]: f for f in sorted(files)}


def join_recipes(*names, **changes):
    """The terms of one or several recipes, for ``distillations`` of a config or in code.

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
    # mmengine runs a config as a file of that name.
    writer = os.path.abspath(sys._getframe(1).f_code.co_filename)
    return join_terms(names, changes, [os.path.dirname(writer), os.getcwd()])


def join_terms(names, changes=None, folders=()):
    """As :func:`join_recipes`, with paths looked for in ``folders``."""
    names = recipe_names(*names)
    terms, versions = {}, {}  # versions: name in a recipe -> the different terms of that name
    for name in names:
        file = name if name in recipes() or '::' in name else search(name, folders)
        for key, term in _read_terms(file, name).items():
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


def read_recipe(name):
    """The Config of a recipe, from its name or the path of its file."""
    known = recipes()
    if name not in known and not os.path.isfile(name) and not (
            '::' in name or os.sep in name or name.endswith('.py')):
        raise FileNotFoundError(f"there is no recipe {name!r} (there is {', '.join(known)})"
                                + did_you_mean(name, known))
    return read_file(known.get(name, os.path.expanduser(name)), 'recipe')


def _read_terms(file, name):
    terms = read_recipe(file).get('distillations')
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
