"""Recording what modules are given and give, while a model runs.

``module.forward`` is replaced on the instance while a ``with`` block lasts, instead of a
forward hook: OpenMMLab's heads are run by ``head.forward(x)``, which no hook sees.
"""
import torch

from .taps import Source, find_module


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
        self.source_out = Source(path)
        self.inputs = [source for source in recorder.calls
                       if source.path == path and source.is_input]

    def __call__(self, *args, **kwargs):
        if self.inputs:
            given = [*args, *kwargs.values()]
            for source in self.inputs:
                if len(given) >= source.is_input:
                    self.recorder.add(source, given[source.is_input - 1])
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
