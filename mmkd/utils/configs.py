"""The configs of students, teachers and distillations."""
import os

from mmengine.config import Config

from .config_files import read_file
from .paths import search


def type_name(cfg, default=''):
    """What a config dict makes, without its scope: 'ResNet' of ``mmseg.ResNet`` or of the class
    itself; ``default`` if it does not say, or is no dict."""
    kind = cfg.get('type') if isinstance(cfg, dict) else None
    return default if kind is None else getattr(kind, '__name__', str(kind)).rpartition('.')[2]


def is_distiller(model):
    """Is this model config a distiller's? (Of any spelling: with ``mmkd.``, without, a class.)"""
    return type_name(model) == 'OfflineDistiller'


def teachers_of(model):
    """{name: dict} of a distiller's config; a single one is called 'teacher'. Empty if there is
    none, or something else in its place."""
    teacher = model.get('teacher')
    if not isinstance(teacher, dict):
        return {}
    if 'config' in teacher or not all(isinstance(one, dict) for one in teacher.values()):
        return {'teacher': teacher}
    return dict(teacher)


def copy_config(cfg):
    """A Config of the same content, whose changes leave ``cfg`` as it is."""
    return Config(cfg.to_dict(), cfg_text=cfg.pretty_text, filename=cfg.filename)


def read_config(source, label='config'):
    """A Config from a path, a ``mmseg::`` or ``mmdet::`` name or a dict.

    In a distill config that is read from a file, relative paths of the teachers (and of the
    student) become absolute: they are looked for beside the file that writes them, beside the
    one that is read, and in the current folder.

    Raises:
        FileNotFoundError: No such file; the message names near ones.
        ValueError: The file is no config.
    """
    if isinstance(source, dict):
        return source if isinstance(source, Config) else Config(dict(source))
    if isinstance(source, Config):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f"{label}: a config is a path, a 'mmseg::' or 'mmdet::' name or a dict, "
                         f'not {source!r}')
    cfg = read_file(os.fspath(source), label)
    settle(cfg, lambda path: [*_folders_of(path, cfg), os.getcwd()])
    return cfg


def settle(cfg, folders_of):
    """Spell a distill config out, in place: ``mmkd.`` before its type, absolute paths to networks.

    Args:
        cfg (Config): Any config; one without a distiller stays as it is.
        folders_of (callable): relative path -> folders to look in, in order.
    """
    model = cfg.get('model')
    if not is_distiller(model):
        return
    if model['type'] == 'OfflineDistiller':
        model['type'] = 'mmkd.OfflineDistiller'
    for network in [model.get('student'), *teachers_of(model).values()]:
        for key in ('config', 'checkpoint'):
            path = network.get(key) if isinstance(network, dict) else None
            if isinstance(path, str) and '::' not in path and '://' not in path:
                network[key] = search(path, folders_of(path))


def _folders_of(path, cfg):
    """The folders of the files that write ``path``, and of the config itself."""
    files, writers = [], []
    for line in cfg.text.splitlines():  # each file's name, then its lines
        if os.path.isabs(line) and os.path.isfile(line):
            files.append(line)
        elif files and path in line:
            writers.append(files[-1])
    return list(dict.fromkeys(os.path.dirname(file) for file in (
        *reversed(writers), os.path.abspath(cfg.filename))))


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
    if is_distiller(model):
        student = model.get('student')
        if not isinstance(student, dict):
            raise ValueError(f'{label}: the distiller has no student: write student='
                             f'{{{{_base_.model}}}} or student=dict(config=...), not {student!r}')
        if 'config' in student and 'type' not in student:
            return load_model_config(student['config'], label)
        model = student
    return model, scope
