"""Finding and reading the configs of students and teachers."""
import glob
import importlib.util
import os

from mmengine.config import Config

from .hints import did_you_mean


def read_config(source, label='config'):
    """A Config from a path, a ``mmseg::`` name or a dict.

    Raises:
        FileNotFoundError: No such file; the message names near ones.
        ValueError: The file is no config.
    """
    if isinstance(source, dict):
        return source if isinstance(source, Config) else Config(dict(source))
    if isinstance(source, Config):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"{label}: a config is a path, a 'mmseg::' name or a dict, not {source!r}")
    source = os.fspath(source)
    if '::' not in source and not os.path.isfile(source):
        folder = os.path.dirname(source) or '.'
        near = [os.path.basename(p) for p in glob.glob(os.path.join(folder, '*.py'))]
        raise FileNotFoundError(
            f'{label}: config {source!r} does not exist'
            + did_you_mean(os.path.basename(source), near)
            + (f" (nor does the folder {folder!r})" if not os.path.isdir(folder) else '')
            + "; write 'mmseg::folder/name.py' for one of mmseg's own")
    path = _zoo_path(source, label) if '::' in source else source
    try:
        return Config.fromfile(path)
    except Exception as error:
        raise ValueError(f'{label}: {source!r} is no config that mmengine can read '
                         f'({type(error).__name__}: {error})') from error


def _zoo_path(name, label):
    """The file behind 'mmseg::folder/name.py' in the installed package."""
    package, file = name.split('::', 1)
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None:
        raise FileNotFoundError(f'{label}: {name!r} names the package {package!r}, which is not '
                                'installed')
    root = os.path.join(os.path.dirname(spec.origin), '.mim', 'configs')
    path = os.path.join(root, file)
    if not os.path.isfile(path):
        known = [os.path.relpath(p, root) for p in glob.glob(f'{root}/*/*.py')]
        raise FileNotFoundError(f'{label}: {package} has no config {file!r}'
                                + did_you_mean(file, known))
    return path


def load_model_config(source, label='config'):
    """(model dict, default scope) of a config.

    Accepts what :func:`read_config` does and also a bare model dict. A distill
    config stands for its student.
    """
    if isinstance(source, dict) and 'type' in source:
        model, scope = source, None
    else:
        cfg = read_config(source, label)
        if cfg.get('model') is None:
            raise ValueError(f'{label}: the config has no model')
        model, scope = cfg.get('model'), cfg.get('default_scope')
        if model.get('data_preprocessor') is None and cfg.get('data_preprocessor') is not None:
            model = dict(model, data_preprocessor=cfg.data_preprocessor)  # as the Runner does
    if str(model.get('type', '')).rpartition('.')[2] == 'OfflineDistiller':
        student = model['student']
        if isinstance(student, dict) and 'config' in student and 'type' not in student:
            return load_model_config(student['config'], label)
        model = student
    return model, scope
