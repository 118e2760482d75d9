"""The parts of a term that are classes: losses and connectors, the project's or the user's own."""
import functools
import inspect

from ..registry import MODELS
from ..utils.hints import did_you_mean, refuse_unknown


def find_class(cfg, role):
    """The class of ``dict(type=..., **arguments)``, which must take these arguments.

    Args:
        cfg (dict): ``type`` is a registered name or a class.
        role (str): How messages call it: 'loss', 'student_connector', ...

    Raises:
        ValueError: No type, an unknown one, or an unknown argument.
    """
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise ValueError(f"{role} must be a dict with a type, not {cfg!r}")
    cls = cfg['type'] if inspect.isclass(cfg['type']) else MODELS.get(cfg['type'])
    if cls is None:
        known = [f'mmkd.{name}' for name in (*MODELS.module_dict, *MODELS.later)]
        raise ValueError(
            f"{role}: type {cfg['type']!r} is not registered{did_you_mean(cfg['type'], known)}; a "
            'class of your own needs @mmkd.registry.MODELS.register_module() and its module in '
            "the config: custom_imports=dict(imports=['my_loss']) for a my_loss.py beside the "
            'config or in the current folder')
    if not _takes_anything(cls):
        refuse_unknown(f'{role}: {cls.__name__}', [key for key in cfg if key != 'type'],
                       inspect.signature(cls).parameters, 'argument')
    return cls


def build_part(cfg, role, facts):
    """Build a loss or connector; constructor arguments that ``facts`` knows are filled in.

    A fact may be a ``functools.partial``, which is called where the fact is wanted."""
    cls = find_class(cfg, role)
    known = inspect.signature(cls).parameters
    found = {key: value() if isinstance(value, functools.partial) else value
             for key, value in facts.items() if key in known and cfg.get(key) is None}
    return MODELS.build(dict(cfg, type=cls, **found))


def _takes_anything(cls):
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values())
