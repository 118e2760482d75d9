"""The connectors of one side of a term: for one map, for every level, or for taps by name."""
import functools
import inspect

from torch import nn

from .parts import build_part, find_class
from .term_spec import connectors_of
from .values import count_levels, has_levels, level_of


def channels(value):
    """The channels of a tensor; of a pyramid as a list, of several taps as a dict."""
    if isinstance(value, dict):
        return {name: channels(item) for name, item in value.items()}
    return [x.shape[1] for x in value] if isinstance(value, list) else value.shape[1]


def connectors_of_side(spec, side, own, other, facts):
    """The connector of one side of a term, for all it taps or by the names of taps; None if the
    term has none.

    Args:
        spec (TermSpec): The term's.
        side (str): 'student' or 'teacher'.
        own, other, facts: See :func:`build_connector`.

    Raises:
        ValueError: A connector is for a tap that there is not, or cannot be built.
    """
    found = connectors_of(spec.cfg, side, own)
    role = f'{side}_connector'
    if role in found:
        return build_connector(found[role], role, own, other, facts, spec.varying)
    unknown = [key for key in found if key.partition('.')[2] not in own]
    if unknown:
        raise ValueError(f"{unknown[0]}: there is no tap of this name; the {side}'s taps are "
                         f"{', '.join(own)}")
    built = {}
    for key, cfg in found.items():
        name = key.partition('.')[2]
        target = other.get(name, own[name]) if isinstance(other, dict) else other
        built[name] = build_connector(cfg, key, own[name], target, facts, spec.varying)
    return ByName(built) if built else None


def build_connector(cfg, role, own, other, facts, varying=False):
    """A connector that turns ``own`` into something like ``other``.

    A class with ``pyramid = True`` gets all that is tapped. Others get one map: there is one of
    them for each level, or with ``shared=True`` in the config one for all levels.

    Args:
        cfg (dict): ``type``, arguments, and ``shared``.
        role (str): How messages call it.
        own, other (Tensor | list | dict): What this side and the other side tap.
        facts (dict): For constructors that name them.
        varying (bool): Whether the number of maps is another in every step.

    Raises:
        ValueError: Something is wrong with the config, or it does not fit what is tapped.
    """
    cfg = dict(cfg)
    shared = cfg.pop('shared', False)
    if getattr(find_class(cfg, role), 'pyramid', False) or not (
            isinstance(own, dict) or has_levels(own)):
        if shared:
            raise ValueError(f'{role}: shared=True is for a connector of every level, and here is '
                             'one connector in all')
        return _build(cfg, role, own, other, facts)
    if isinstance(own, dict):
        raise ValueError(f"{role} needs a connector for each tap, such as "
                         f"{role}=dict({next(iter(own))}=dict(type=...)); the taps are "
                         f"{', '.join(own)}")
    if varying and not shared:
        raise ValueError(f'{role}: with varying=True it must be one for all maps; set shared=True '
                         'in it')
    levels = range(count_levels(own))
    others = [level_of(other, i) if isinstance(other, list) and len(other) == len(own) else other
              for i in levels]
    if not shared:
        return EachLevel(_build(cfg, f'{role} of level {i}', own[i], others[i], facts)
                         for i in levels)
    if len({(x.shape[1], y.shape[1]) for x, y in zip(own, others, strict=True)}) > 1:
        raise ValueError(f'{role}: shared=True needs equal channels in all levels, but they are '
                         f'{channels(own)} (own) and {channels(other)} (other)')
    return SharedByLevels([_build(cfg, role, own[0], others[0], facts)])


def _build(cfg, role, own, other, facts):
    return build_part(cfg, role, dict(facts, in_channels=channels(own),
                                      out_channels=channels(other)))


class EachLevel(nn.ModuleList):
    """One connector for each level of a pyramid."""

    def forward(self, value, teacher=None):
        return [connect(module, x, level_of(teacher, i))
                for i, (module, x) in enumerate(zip(self, value, strict=True))]


class SharedByLevels(nn.ModuleList):
    """One connector for all levels of a pyramid."""

    def forward(self, value, teacher=None):
        return [connect(self[0], x, level_of(teacher, i)) for i, x in enumerate(value)]


class ByName(nn.ModuleDict):
    """Connectors of some of several taps; the others stay as they are."""

    def forward(self, value, teacher=None):
        return {name: connect(self[name], item, teacher.get(name) if isinstance(teacher, dict)
                              else teacher) if name in self else item
                for name, item in value.items()}


def connect(module, value, teacher):
    """``module(value)``, with the teacher's value if its forward names it."""
    return module(value, teacher) if _takes_teacher(type(module)) else module(value)


@functools.cache
def _takes_teacher(cls):
    """Asked in every step: a signature is read once for each class."""
    return 'teacher' in inspect.signature(cls.forward).parameters
