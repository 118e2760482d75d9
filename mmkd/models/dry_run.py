"""The dry run: tiny forwards of each network when a distiller is built.

It finds channels and strides, what the semantic names mean for these models,
how often each tap fires, and which taps a later in-place operation overwrites,
so that nobody has to write any of it down.
"""
import copy
from dataclasses import replace

import torch

from ..utils.hints import did_you_mean
from .first_step import is_trained
from .no_trace import no_trace, twin_of
from .taps import Recorder, Source, Tap, find_module, parse_tap

_SIZES = ((64, 64), (128, 128), (256, 256), (512, 512))


class DryRun:
    """Runs ``model`` and answers for any tap.

    A semantic name is a tensor of inference. Many models give more, or something else, in
    training; the student's tap is then the place that gives this tensor in both: the module
    that makes it, or one that takes it.

    Args:
        model (nn.Module): The network.
        library: Its file in ``mmkd.models.libraries``.
        label (str): How messages call it.
        wanted (list of str): The taps as the user wrote them.
        training (bool): Run it as in training (the student: its own losses, train
            mode) or as in inference (a teacher).
        own_losses (bool): False: in training, too, without the model's own losses.

    Attributes: ``errors`` (what the user got wrong: tap -> message), ``taps`` (as
    written -> Tap), ``examples`` (as written -> tensor), ``trained`` (the taps, as
    written, that depend on a trainable parameter; with ``training``), ``counts`` and
    ``clone`` for the Recorder, ``size`` (the image's width) and ``batch`` (what it ran on).

    Raises:
        ValueError: The model does not run on a random batch.
    """

    def __init__(self, model, library, label, wanted, training, own_losses=True):
        self.model, self.library, self.label, self.training = model, library, label, training
        self.own_losses = own_losses
        self.errors, self.taps, self.examples, self.trained = {}, {}, {}, set()
        self.size = self.batch = None
        self._names = {
            name: existing for name, taps in library.tap_names(model).items()
            if (existing := [tap for tap in taps if _exists(model, tap.source.path)])}
        wanted = list(dict.fromkeys(wanted))
        names = [text for text in wanted if text in library.MEANINGS]
        paths = {text: tap for text in wanted if text not in library.MEANINGS
                 and (tap := self._parse(text)) is not None}
        calls, overwritten = {}, set()
        if paths or names:
            meant, calls, overwritten = self._run(list(paths.values()), names)
            for text, tap in paths.items():
                self._choose(text, tap, calls)
            for text in names:
                self._choose_name(text, meant, calls)
        used = {tap.source for tap in self.taps.values()}
        self.counts = {source: len(calls[source]) for source in used}
        self.clone = overwritten & used

    def _parse(self, text):
        """The tap of a path, or None after noting what is wrong with it."""
        try:
            tap = parse_tap(text)
        except ValueError as error:
            self.errors[text] = str(error)
            return None
        try:
            find_module(self.model, tap.source.path, self.library.called(self.model))
        except ValueError as error:
            self.errors[text] = (f"{error} (semantic names here: {', '.join(self._names)})"
                                 f'{did_you_mean(text, self._names)}')
            return None
        return tap

    # ---- running --------------------------------------------------------------------------
    def _run(self, paths, names):
        """Run on the first size that works.

        Returns what :meth:`_meanings` does, what each source gave, and the sources whose
        tensors were overwritten.
        """
        sizes = sorted({*_SIZES, *self.library.input_sizes(self.model)},
                       key=lambda size: (size[0] * size[1], size))
        with no_trace(self.model):
            twin = twin_of(self.model)
            for size in sizes:
                for channels in self.library.input_channels(self.model):
                    self.batch = self._batch(size, channels)
                    try:
                        found = self._run_once(twin, paths, names)
                    except Exception as error:  # too small for some models: try larger
                        last = error
                        continue
                    self.size = size[1]
                    return found
        raise ValueError(
            f'the {self.label} ({self.library.called(self.model)}) does not run on a random batch '
            f'of 2 images of {min(sizes[0])} to {max(sizes[-1])} pixels: '
            f'{type(last).__name__}: {last}') from last

    def _batch(self, size, channels):
        inputs, samples = self.library.make_batch(self.model, size, channels)
        device = next(self.model.parameters()).device
        return inputs.to(device), [sample.to(device) for sample in samples]

    def _run_once(self, twin, paths, names):
        sources = {tap.source for tap in paths}
        meant = {}
        if names:
            wanted = sources | {tap.source for name in names for tap in self._names.get(name, ())}
            meant, recorder = self._meanings(twin, wanted)
            sources |= {tap.source for taps in meant.values() for tap in taps}
        if self.training or not names:
            recorder = self._forward(twin, sources, sources, self.training)
        return meant, recorder.calls, recorder.overwritten()

    def _forward(self, twin, sources, wanted, training):
        inputs, samples = self.batch[0].clone(), copy.deepcopy(self.batch[1])
        with torch.set_grad_enabled(training), Recorder(twin, sources, watch=True) as recorder:
            twin.train(training)
            if training and self.own_losses:
                twin.loss(inputs, samples)
            else:
                self.library.forward(twin, inputs, samples, [source.path for source in wanted])
        return recorder

    # ---- taps as the user wrote them ------------------------------------------------------
    def _choose(self, text, tap, calls):
        if not calls[tap.source]:
            self.errors[text] = f"'{tap.source}' never fires in a forward of the {self.label}"
            return
        try:
            value = tap.select(calls[tap.source])
        except ValueError as error:
            self.errors[text] = str(error)
            return
        if value.ndim < 2:
            self.errors[text] = f"'{tap}' gives a tensor of shape {tuple(value.shape)}, no map"
            return
        self._take(text, tap, value)

    def _take(self, text, tap, value):
        self.taps[text], self.examples[text] = tap, value.detach()
        if is_trained(value):
            self.trained.add(text)

    # ---- semantic names -------------------------------------------------------------------
    def _meanings(self, twin, wanted):
        """An inference; name -> {tap that gives what is meant: the form of its source}."""
        places = [Source(path, is_input) for path in self.library.places(self.model)
                  for is_input in (False, True)] if self.training else []
        named = [tap.source for taps in self._names.values() for tap in taps]
        recorder = self._forward(twin, {*wanted, *named, *places}, wanted, training=False)
        calls, meant = recorder.calls, {}
        for name, taps in self._names.items():
            own = {tap.source: calls[tap.source] for tap in taps}
            meant[name] = {}
            for tap in taps:
                value = _last(tap, calls)
                if value is None or not self.library.is_meant(self.model, name, tap, value, own):
                    continue
                same = [] if tap.derive else [Tap(source, index) for source in places
                                              for index in _where(value, calls[source][-1:])]
                for place in (tap, *same):
                    meant[name].setdefault(place, _form(_derived(place, calls)))
        return meant, recorder

    def _choose_name(self, name, meant, calls):
        """The first tap that gives here what the name means: the same form in both modes."""
        for tap, form in meant.get(name, {}).items():
            value = _last(tap, calls)
            if value is None or _form(_derived(tap, calls)) != form:
                continue
            if len(calls[tap.source]) > 1:
                tap = replace(tap, index=(-1, *tap.index))
            self._take(name, tap, value)
            return
        what, who = self.library.MEANINGS[name]
        has = [other for other, taps in meant.items() if taps and other != name]
        self.errors[name] = (
            f'this {self.library.called(self.model)} has no {name!r} ({what}); it has '
            f"{', '.join(has) or 'no semantic names'}. Models that have it: {who}. Use one "
            "of this model's own names, or the path of a module")


def _exists(model, path):
    try:
        return model.get_submodule(path) is not None
    except AttributeError:
        return False


def _last(tap, calls):
    """What a name's tap gives, in the last of several calls; None if that is no tensor."""
    try:
        return tap.select(calls[tap.source][-1:])
    except (ValueError, TypeError, IndexError, AttributeError):
        return None


def _derived(tap, calls):
    """What must have the same form in training: a derived tensor, or all a source gives."""
    return _last(tap, calls) if tap.derive else calls[tap.source][-1:]


def _where(tensor, given, index=()):
    """Every place, as an index, at which ``tensor`` stands in the one call ``given``."""
    if isinstance(given, torch.Tensor):
        return [index[1:]] if given is tensor else []
    if not isinstance(given, (list, tuple)):
        return []
    return [place for i, item in enumerate(given) for place in _where(tensor, item, (*index, i))]


def _form(value):
    """The shapes of what a module is given or gives."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, (list, tuple)):
        return [_form(item) for item in value]
    return type(value).__name__
