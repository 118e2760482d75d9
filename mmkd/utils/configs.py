"""The configs of students and teachers."""
import os

from mmengine.config import Config

from .config_files import read_file


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
    return read_file(os.fspath(source), label)


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
