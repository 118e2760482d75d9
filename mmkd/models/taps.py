"""Taps: where a tensor is read inside a network.

A tap is written ``path``, ``path[i]``, ``path:input`` or ``path:input[i]``:
the output of the module ``path`` (or its first input), and one item of it where it
is a tuple or where the module is called several times in one forward (then
``[i]`` picks the call, in order; a second ``[j]`` the item). A name without a
dot can be a semantic name ('logits', 'backbone', ...), which the library's
file in ``mmkd/models/libraries`` resolves.

Reading replaces ``module.forward`` on the instance while a ``with`` block
lasts, and not a forward hook: OpenMMLab's heads are run by ``head.forward(x)``,
which no hook sees.

Some tensors that a name stands for are made by no module (the class map of a
head that gives class scores and masks of queries): such a tap derives its tensor
from what a module gives.
"""
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..utils.hints import did_you_mean

_TAP = re.compile(r'(?P<path>\w+(\.\w+)*)(?P<input>:input)?(?P<index>(\[-?\d+\])*)')


@dataclass(frozen=True)
class Source:
    """One side of one module: what a recorder listens to."""
    path: str
    is_input: bool = False

    def __str__(self):
        return self.path + (':input' if self.is_input else '')


@dataclass(frozen=True)
class Tap:
    """A parsed tap.

    ``derive``: a function of a module (so that the tap can be pickled) from what the source
    gives, after ``index``, to the tensor; None where the source gives it as it is.
    """
    source: Source
    index: tuple = ()
    derive: Callable | None = None

    def __str__(self):
        text = str(self.source) + ''.join(f'[{i}]' for i in self.index)
        return text if self.derive is None else f'{self.derive.__name__}({text})'

    def select(self, calls):
        """The tensor among the values that the source gave in its calls.

        Args:
            calls (list): One value per call of the module, in order.

        Raises:
            ValueError: The value is no single tensor; the message says how to
                choose one.
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
        if not isinstance(value, torch.Tensor):
            if len(calls) > 1 and not index:
                raise ValueError(f"'{self}': the module is called {len(calls)} times in one "
                                 f"forward; choose a call with '{self}[0]' to "
                                 f"'{self}[{len(calls) - 1}]' ('{self}[-1]' is the last)")
            raise ValueError(f"'{self}' gives {_describe(value)}, not one tensor"
                             + (f"; choose an item with '{self}[0]' to '{self}[{len(value) - 1}]'"
                                if isinstance(value, (list, tuple)) and value else ''))
        return value


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
        raise ValueError(f"{text!r} is not a tap; write 'module.path', 'module.path[i]' or "
                         "'module.path:input'")
    index = tuple(int(i) for i in re.findall(r'-?\d+', match['index']))
    return Tap(Source(match['path'], match['input'] is not None), index)


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


class AllTapsRead(BaseException):
    """Every wanted tap has fired: nothing more is needed of this forward."""


class Recorder:
    """Records what modules are given and give, inside a ``with`` block.

    Args:
        model (nn.Module): The network that will be run.
        sources (iterable of Source): What to record.
        clone (container of Source): Sources that a later in-place operation
            overwrites; they are copied when they fire.
        stop_after (dict, optional): How often each source fires in a whole
            forward. When all have, :class:`AllTapsRead` ends the forward.
        watch (bool): Also note which sources are overwritten in place.

    After (and inside) the block, ``calls`` maps each source to its values in
    call order. Nothing is left on the model.
    """

    def __init__(self, model, sources, clone=(), stop_after=None, watch=False):
        self.model = model
        self.clone = clone
        self.calls = {source: [] for source in sources}
        self._watch, self._versions = watch, []
        self._left = None if stop_after is None else dict(stop_after)
        self._spies = []

    def __enter__(self):
        paths = dict.fromkeys(source.path for source in self.calls)
        # All are found before one is changed: an error here leaves nothing behind.
        for path, module in [(path, find_module(self.model, path)) for path in paths]:
            self._spies.append((module, module.__dict__.get('forward')))
            module.forward = _Spy(self, path, module.forward)
        return self

    def __exit__(self, *exc_info):
        for module, before in reversed(self._spies):
            if before is None:
                del module.__dict__['forward']
            else:
                module.forward = before
        self._spies.clear()

    def add(self, source, value):
        if source not in self.calls:
            return
        if source in self.clone:
            value = _map_tensors(torch.clone, value)
        self.calls[source].append(value)
        if self._watch:
            _map_tensors(lambda t: self._versions.append((source, t, t._version)), value)
        if self._left is not None:
            self._left[source] -= 1
            if not any(left > 0 for left in self._left.values()):
                raise AllTapsRead

    def overwritten(self):
        """Sources whose tensors were changed in place after they fired (with ``watch``)."""
        return {source for source, tensor, version in self._versions
                if tensor._version != version}


class _Spy:
    """Stands in for ``module.forward`` while a Recorder listens."""

    def __init__(self, recorder, path, forward):
        self.recorder, self.forward = recorder, forward
        self.source_in, self.source_out = Source(path, True), Source(path)

    def __call__(self, *args, **kwargs):
        given = [*args, *kwargs.values()]
        if given:
            self.recorder.add(self.source_in, given[0])
        value = self.forward(*args, **kwargs)
        self.recorder.add(self.source_out, value)
        return value


def _map_tensors(function, value):
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, (list, tuple)):
        return type(value)([_map_tensors(function, item) for item in value]) \
            if type(value) in (list, tuple) else value
    return value
