"""Modules of the user's own, which lie beside the config that names them in ``custom_imports``."""
import importlib
import logging
import os
import sys

from mmengine.logging import print_log

from .hints import did_you_mean

#: where a config that was written elsewhere says in which folders its modules lie
FOLDERS = 'custom_import_folders'


def make_importable(folder):
    """Let Python find modules in ``folder``, after all others."""
    folder = os.path.abspath(folder)
    if folder not in sys.path:
        sys.path.append(folder)  # data loader workers and other processes get the path, too


def import_custom_modules(cfg, label='config'):
    """Import what ``custom_imports`` names, also from beside the config and its bases.

    The folders in which the modules were found are noted in ``cfg``, so that the copy of the
    config in the work dir finds them as well.

    Raises:
        ValueError: A module cannot be imported.
    """
    names = imports_of(cfg)
    if not names:
        return
    # The text of a config begins each of its files with a line that is the file's path.
    files = [line for line in (cfg.text or '').splitlines()
             if line.endswith(('.py', '.json', '.yaml', '.yml')) and os.path.isfile(line)]
    folders = list(dict.fromkeys(
        [*(cfg.get(FOLDERS) or []), *(os.path.dirname(os.path.abspath(f)) for f in files)]))
    for folder in folders:
        make_importable(folder)
    used = [_import(name, folders, label, cfg.custom_imports.get('allow_failed_imports', False))
            for name in names]
    used = [folder for folder in dict.fromkeys(used) if folder is not None]
    if used:
        cfg[FOLDERS] = used


def imports_of(cfg):
    """The names in ``custom_imports``."""
    names = (cfg.get('custom_imports') or {}).get('imports') or []
    return [names] if isinstance(names, str) else list(names)


def join_imports(cfg, sources):
    """Let ``cfg`` import what any of the configs ``sources`` does, from where they do."""
    imports = [name for source in sources for name in imports_of(source)]
    folders = [folder for source in sources for folder in source.get(FOLDERS) or []]
    if imports:
        cfg.custom_imports = dict(cfg.get('custom_imports') or {},
                                  imports=list(dict.fromkeys(imports)))
    if folders:
        cfg[FOLDERS] = list(dict.fromkeys(folders))


def _import(name, folders, label, may_fail):
    """Import a module and return which of ``folders`` it lies in, or None."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        text = _why_not(name, folders, label, error)
        if not may_fail:
            raise ValueError(text) from error
        print_log(text, logger='current', level=logging.WARNING)
        return None
    file = os.path.abspath(getattr(module, '__file__', None) or '')
    for folder in folders:
        beside = os.path.join(folder, *name.split('.'))
        if file in (f'{beside}.py', os.path.join(beside, '__init__.py')):
            return folder
        if os.path.isfile(f'{beside}.py'):
            raise ValueError(f'{label}: custom_imports names {name!r}, and Python finds '
                             f'{file or "a module of its own"} under that name, not {beside}.py: '
                             'rename your file')
    return None


def _why_not(name, folders, label, error):
    if not name.startswith(str(getattr(error, 'name', None))):  # found, but it imports another
        return (f'{label}: {name!r} of custom_imports cannot be imported: '
                f'{type(error).__name__}: {error}')
    near = [file[:-3] for folder in folders for file in os.listdir(folder)
            if file.endswith('.py')] if folders else []
    return (f'{label}: there is no module {name!r}, which custom_imports names'
            f"{did_you_mean(name, near)} (looked beside the config, in {', '.join(folders)}, and "
            "on Python's path: put the file beside the config, or its folder into PYTHONPATH)")
