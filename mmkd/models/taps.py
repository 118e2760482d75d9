"""Taps: where a tensor is read inside a network.

A tap is written ``path``, ``path[i]``, ``path:input`` or ``path:input[i]``:
the output of the module ``path`` (or its first input; ``:input2`` is its second), and
one item of it where it is a tuple or where the module is called several times in one
forward (then ``[i]`` picks the call, in order; a second ``[j]`` the item). ``path[:]``
takes all of them, as a pyramid: a list of maps, one for each level; ``path[:4]`` the
first four, as a slice in Python. Several taps in a list are a pyramid, too. A name
that is no path can be a semantic name ('logits', 'backbone', ...), which the library's
file in ``mmkd/models/libraries`` resolves.

Some tensors that a name stands for are made by no module (the class map of a
head that gives class scores and masks of queries): such a tap derives its tensor
from what a module gives.
"""
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..utils.hints import did_you_mean

_TAP = re.compile(r'(?P<path>\w+(\.\w+)*)(:input(?P<input>[1-9]?))?(?P<index>(\[-?\d+\])*)'
                  r'(?P<levels>\[(-?\d+)?:(-?\d+)?\])?')


@dataclass(frozen=True)
class Source:
    """One side of one module: what a recorder listens to.

    ``is_input``: False for the output, True (or 1) for the first input, 2 for the second.
    """
    path: str
    is_input: int = False

    def __str__(self):
        number = f'{self.is_input}' if self.is_input > 1 else ''
        return self.path + (f':input{number}' if self.is_input else '')


@dataclass(frozen=True)
class Tap:
    """A parsed tap.

    ``derive``: a function of a module (so that the tap can be pickled) from what the source
    gives, after ``index``, to the tensor; None where the source gives it as it is.
    ``levels``: (start, stop) of the items that are the levels of a pyramid; None for one tensor.
    """
    source: Source
    index: tuple = ()
    derive: Callable | None = None
    levels: tuple | None = None

    def __str__(self):
        text = str(self.source) + ''.join(f'[{i}]' for i in self.index)
        text = text if self.derive is None else f'{self.derive.__name__}({text})'
        return text + _slice_text(self.levels)

    @property
    def sources(self):
        return (self.source,)

    def read(self, calls):
        """:meth:`select` from what a Recorder has of all sources."""
        return self.select(calls[self.source])

    def select(self, calls):
        """The tensor, or with ``levels`` the list of tensors, among what the source gave.

        Args:
            calls (list): One value per call of the module, in order.

        Raises:
            ValueError: The value is no single tensor (with ``levels``: no list of tensors);
                the message says how to choose one.
        """
        index = list(self.index)
        value = calls[0] if len(calls) == 1 else list(calls)
        for i in index:
            if not isinstance(value, (list, tuple)):
                raise ValueError(f"'{self}': '{self.source}' gives {_describe(value)}, which "
                                 f'has no item [{i}]; drop the [{i}]')
            if not -len(value) <= i < len(value):
                raise ValueError(f"'{self}': there are {len(value)} items, [0] to "
                                 f'[{len(value) - 1}]')
            value = value[i]
        if self.derive is not None:
            value = self.derive(value)
        if self.levels is not None:
            return _levels_of(self, value)
        if not isinstance(value, torch.Tensor):
            if len(calls) > 1 and not index:
                raise ValueError(f"'{self}': the module is called {len(calls)} times in one "
                                 f"forward; choose a call with '{self}[0]' to "
                                 f"'{self}[{len(calls) - 1}]' ('{self}[-1]' is the last), or "
                                 f"take all as a pyramid with '{self}[:]'")
            raise ValueError(f"'{self}' gives {_describe(value)}, not one tensor"
                             + (f"; choose an item with '{self}[0]' to '{self}[{len(value) - 1}]', "
                                f"or take all as a pyramid with '{self}[:]'"
                                if isinstance(value, (list, tuple)) and value else ''))
        return value


@dataclass(frozen=True)
class JoinedTap:
    """A pyramid whose levels come from several modules.

    ``taps``: a Tap for each level. ``levels``: (start, stop) of those that are taken.
    """
    taps: tuple
    levels: tuple = (None, None)

    def __str__(self):
        return '[' + ', '.join(map(str, self.taps)) + ']' + (
            '' if self.levels == (None, None) else _slice_text(self.levels))

    @property
    def sources(self):
        return tuple(dict.fromkeys(tap.source for tap in self._taken()))

    def read(self, calls):
        """The tensors of all levels, from what a Recorder has of all sources."""
        return [tap.read(calls) for tap in self._taken()]

    def _taken(self):
        taps = self.taps[slice(*self.levels)]
        if not taps:
            raise ValueError(f"'{self}': no level is left of {len(self.taps)}")
        return taps


def _slice_text(levels):
    return '' if levels is None else '[' + ':'.join('' if i is None else str(i)
                                                    for i in levels) + ']'


def _levels_of(tap, value):
    value = [value] if isinstance(value, torch.Tensor) else value
    if not isinstance(value, (list, tuple)) or not all(isinstance(x, torch.Tensor) for x in value):
        inside = f' ({_describe(value[0])} first)' if isinstance(value, (list, tuple)) and value \
            else ''
        raise ValueError(f"'{tap}': '{tap.source}' gives {_describe(value)}{inside}, no list of "
                         "tensors; choose an item first, with '[0][:]'")
    found = list(value[slice(*tap.levels)])
    if not found:
        raise ValueError(f"'{tap}': no level is left of the {len(value)} that there are")
    return found


def _describe(value):
    if isinstance(value, torch.Tensor):
        return f'a tensor of shape {tuple(value.shape)}'
    if isinstance(value, (list, tuple)):
        return f'a {type(value).__name__} of {len(value)}'
    return f'a {type(value).__name__}'


def parse_tap(text):
    """'backbone.layer4:input[1]' -> Tap.

    Raises:
        ValueError: The text is no tap.
    """
    match = _TAP.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a tap; write 'module.path', 'module.path[i]', "
                         "'module.path[:]' (a pyramid) or 'module.path:input'")
    index = tuple(int(i) for i in re.findall(r'-?\d+', match['index']))
    levels = match['levels'] and tuple(int(i) if i else None
                                       for i in match['levels'][1:-1].split(':'))
    is_input = False if match['input'] is None else int(match['input'] or 1)
    return Tap(Source(match['path'], is_input), index, levels=levels)


def split_levels(text):
    """'neck[:4]' -> ('neck', (None, 4)); without a slice at the end -> (text, None)."""
    name, _, rest = text.rpartition('[')
    if not name or not re.fullmatch(r'(-?\d+)?:(-?\d+)?\]', rest):
        return text, None
    return name, tuple(int(i) if i else None for i in rest[:-1].split(':'))


def find_module(model, path, called=None):
    """The module at ``path`` of a model that messages call ``called`` (default: its class).

    Raises:
        ValueError: There is none; the message names the nearest paths.
    """
    try:  # in every step: no list of all modules is made
        return model.get_submodule(path)
    except AttributeError:
        pass
    # A module that two paths share is under both.
    modules = dict(model.named_modules(remove_duplicate=False))
    parent = path
    while '.' in parent and parent not in modules:
        parent = parent.rpartition('.')[0]
    inside = [name for name in modules if name.startswith(parent + '.')] \
        if parent in modules else []
    hint = did_you_mean(path, inside) or did_you_mean(path, [n for n in modules if n])
    raise ValueError(f'{called or type(model).__name__} has no module {path!r}{hint}')
