"""The dry run: one tiny forward of each network when a distiller is built.

It finds channels and strides, what the semantic names mean for these models,
how often each tap fires, and which taps a later in-place operation overwrites,
so that nobody has to write any of it down.
"""
import contextlib
from unittest import mock

import torch

from .first_step import is_trained
from .taps import Recorder, find_module
from .terms import resolve_tap

_SIZES = (64, 128, 256, 512)


class DryRun:
    """Runs ``model`` once and answers for any tap.

    Args:
        model (nn.Module): The network.
        library: Its file in ``mmkd.models.libraries``.
        label (str): How messages call it.
        wanted (list of str): The taps as the user wrote them.
        training (bool): Run it as in training (the student: its own losses, train
            mode) or as in inference (a teacher).

    Attributes: ``errors`` (what the user got wrong: tap -> message), ``taps`` (as
    written -> Tap), ``examples`` (as written -> tensor), ``trained`` (the taps, as
    written, that depend on a trainable parameter; with ``training``), ``counts`` and
    ``clone`` for the Recorder, ``size`` and ``batch`` (what it ran on).
    """

    def __init__(self, model, library, label, wanted, training):
        self.model, self.library, self.label = model, library, label
        self.names = library.tap_names(model)
        self.errors, self.taps, self.examples, self.trained = {}, {}, {}, set()
        self.size = self.batch = None
        candidates = {text: self._candidates(text) for text in dict.fromkeys(wanted)}
        sources = {tap.source for taps in candidates.values() for tap in taps}
        calls, overwritten = self._run(sources, training) if sources else ({}, set())
        for text, taps in candidates.items():
            if taps:
                self._choose(text, taps, calls)
        used = {tap.source for tap in self.taps.values()}
        self.counts = {source: len(calls[source]) for source in used}
        self.clone = overwritten & used

    def _candidates(self, text):
        try:
            taps = resolve_tap(text, self.names)
        except ValueError as error:
            self.errors[text] = str(error)
            return []
        if text in self.names:
            return taps
        try:
            find_module(self.model, taps[0].source.path)
        except ValueError as error:
            self.errors[text] = (f"{error} (semantic names here: {', '.join(self.names)})")
            return []
        return taps

    def _run(self, sources, training):
        last = None
        for size in _SIZES:
            inputs, samples = self.library.make_batch(self.model, (size, size))
            device = next(self.model.parameters()).device
            inputs = inputs.to(device)
            samples = [sample.to(device) for sample in samples]
            try:
                with torch.set_grad_enabled(training), _no_trace(self.model), \
                        Recorder(self.model, sources, watch=True) as recorder:
                    self.model.train(training)
                    if training:
                        self.model.loss(inputs, samples)
                    else:
                        self.library.forward(self.model, inputs, samples,
                                             [source.path for source in sources])
            except Exception as error:  # too small for some models: try larger
                last = error
                continue
            self.size, self.batch = size, (inputs, samples)
            return recorder.calls, recorder.overwritten()
        raise ValueError(f'the {self.label} does not run on a random batch of 2 images of '
                         f'{_SIZES[0]} to {_SIZES[-1]} pixels: {type(last).__name__}: {last}'
                         ) from last

    def _choose(self, text, taps, calls):
        """The first tap of ``taps`` that gives what is meant."""
        problem = None
        for tap in taps:
            fired = calls[tap.source]
            if not fired:
                problem = problem or (f"'{tap.source}' never fires in a forward of the "
                                      f'{self.label}')
                continue
            try:
                value = tap.select(fired)
            except ValueError as error:
                problem = problem or str(error)
                continue
            if value.ndim < 2:
                problem = problem or f"'{tap}' gives a tensor of shape {tuple(value.shape)}, no map"
                continue
            if text in self.names and not self.library.is_meant(self.model, text, value):
                continue
            self.taps[text], self.examples[text] = tap, value.detach()
            if is_trained(value):
                self.trained.add(text)
            return
        self.errors[text] = problem or (f'no module of this {type(self.model).__name__} gives '
                                        f'{text!r} as an (N, C, H, W) map; give a path')


@contextlib.contextmanager
def _no_trace(model):
    """What a forward changes is put back: buffers and every module's training flag.

    Meanwhile no process group is seen: a network that is built is still on the CPU,
    where SyncBN refuses to run in a group, and other ranks must not be waited for.
    """
    modules = list(model.modules())
    flags = [module.training for module in modules]
    # Some modules (EMAHead) put a new tensor in a buffer's place.
    buffers = [(module._buffers, name, buffer, buffer.clone()) for module in modules
               for name, buffer in module._buffers.items() if buffer is not None]
    try:
        with mock.patch('torch.distributed.is_initialized', return_value=False):
            yield
    finally:
        for owner, name, buffer, before in buffers:
            owner[name] = buffer.copy_(before)
        for module, flag in zip(modules, flags, strict=True):
            module.training = flag
