"""Finding config files, by path or by the name of an installed package, and reading them."""
import glob
import importlib.util
import os
import re

from mmengine.config import Config

import mmkd

from .custom_modules import import_custom_modules, make_importable
from .hints import did_you_mean
from .paths import does_not_exist


def config_root():
    """The folder of mmkd's configs: in the clone, or installed beside the package."""
    package = os.path.dirname(os.path.abspath(mmkd.__file__))
    for root in (os.path.join(os.path.dirname(package), 'configs'),
                 os.path.join(package, '.mim', 'configs')):
        if os.path.isdir(os.path.join(root, '_base_', 'recipes')):
            return root
    raise FileNotFoundError('mmkd has no configs beside it; install it with pip from the clone')


def tools_root():
    """The folder of mmkd's tools, beside its configs."""
    return os.path.join(os.path.dirname(config_root()), 'tools')


def config_path(source, label='config'):
    """The file of a path or of a name like ``mmseg::folder/name.py`` or ``mmdet::...``.

    Raises:
        FileNotFoundError: There is none; the message names near ones.
    """
    if '::' in source:
        return _package_path(source, label)
    if os.path.isfile(source):
        return source
    raise FileNotFoundError(f"{label}: config {does_not_exist(source, '.py')}; write "
                            "'mmseg::folder/name.py' (or mmdet::) for one of a library's own")


def _package_path(name, label):
    """The file behind 'mmseg::folder/name.py' in the installed package."""
    package, file = name.split('::', 1)
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f'{label}: {name!r} names the package {package!r}, which is not '
                                'installed')
    root = config_root() if package == 'mmkd' else os.path.join(
        os.path.dirname(spec.origin), '.mim', 'configs')
    path = os.path.join(root, file)
    if not os.path.isfile(path):
        # Those of the same folder first: the folder's name is seldom what is wrong.
        same = glob.glob(os.path.join(glob.escape(os.path.dirname(path)), '*.py'))
        known = [os.path.relpath(p, root)
                 for p in sorted(same or glob.glob(f'{root}/**/*.py', recursive=True))]
        raise FileNotFoundError(f'{label}: {package} has no config {file!r}'
                                + did_you_mean(file, known))
    return path


def read_file(source, label='config'):
    """The Config of a path or a package's name, as mmengine reads it.

    Modules that it names in ``custom_imports`` may lie beside it.

    Raises:
        FileNotFoundError: No such file.
        ValueError: mmengine cannot read it; the message says why and what to do.
    """
    path = config_path(source, label)
    if '::' not in source:
        make_importable(os.path.dirname(path))
    try:
        cfg = Config.fromfile(path, import_custom_modules=False)
    except Exception as error:
        raise ValueError(f'{label}: {source!r} ' + _why_not(error)) from error
    import_custom_modules(cfg, label)
    return cfg


def _why_not(error):
    """What is wrong with a config that mmengine refused, and the cure."""
    text = str(error)
    duplicate = re.search(r"Duplicate keys: \{(.*?)\}", text)
    if duplicate and "'distillations'" in duplicate[1]:
        return (
            'has two recipes in _base_, and mmengine refuses a key that two bases have. To join '
            'methods, take the recipes out of _base_, add the line `from mmkd.apis import '
            "join_recipes` below _base_, and write distillations=join_recipes('cwd', 'at'), with "
            'names or files, in place of distillations={{_base_.distillations}}')
    if duplicate:
        return (f'has files in _base_ that both define {duplicate[1]}, and mmengine refuses a key '
                'that two bases have: keep one of the files, or let one inherit from the other')
    if 'does not support to load mmkd config' in text:
        return ("names 'mmkd::...' in _base_, where mmengine knows OpenMMLab's own libraries only. "
                'For a recipe, add the line `from mmkd.apis import join_recipes` below _base_ and '
                "write distillations=join_recipes('cwd'); for any other file write its path, "
                f'which begins with {config_root()}')
    if isinstance(error, RuntimeError) and (not text or 'lazy_import' in text):
        return ('imports a module before it says _base_, which mmengine takes for its other kind '
                'of config (`with read_base():`): write _base_ = ... above the imports, or '
                '_base_ = [] if there is none')
    if isinstance(error, KeyError) and error.args and str(error.args[0]).isidentifier():
        return (f'is no config that mmengine can read: it uses {error.args[0]!r}, which no file in '
                '_base_ defines')
    missing = re.fullmatch(r"""(?:file "|\[Errno 2\] .*: ')(.+)(?:" does not exist|')""", text)
    if missing:
        return ('is no config that mmengine can read: in _base_, '
                + does_not_exist(missing[1], '.py'))
    return f'is no config that mmengine can read ({type(error).__name__}: {text})'
