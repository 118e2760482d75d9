"""The dry run: tiny forwards of each network when a distiller is built.

It finds channels and strides, what the semantic names mean for these models,
how often each tap fires, and which taps a later in-place operation overwrites,
so that nobody has to write any of it down.
"""
import contextlib
import copy
from dataclasses import replace

import torch

from ..utils.hints import did_you_mean
from .first_step import is_trained
from .layout import UNKNOWN
from .random_batch import device_of, run_on_random_batch
from .recorder import Recorder
from .same_tensor import derived, exists, form_of, last_of, read_or_none, where
from .taps import JoinedTap, Source, Tap, find_module, parse_tap, split_levels
from .values import leaves, map_leaves


class DryRun:
    """Runs ``model`` and answers for any tap.

    A semantic name is a tensor of inference. Many models give more, or something else, in
    training; the student's tap is then the place that gives this tensor in both: the module
    that makes it, or one that takes it. A library whose names are the same places in both
    (``SAME_IN_TRAINING``) needs no inference here.

    Args:
        model (nn.Module): The network.
        library: Its file in ``mmkd.models.libraries``.
        label (str): How messages call it.
        wanted (list of str | tuple of str): The taps as the user wrote them; a tuple is a
            pyramid from several modules.
        training (bool): Run it as in training (the student: its own losses, train
            mode) or as in inference (a teacher).
        own_losses (bool): False: in training, too, without the model's own losses.
        shared (dict): What the student gives the teacher's forward, by name.

    Attributes: ``errors`` (what the user got wrong: tap -> message), ``taps`` (as
    written -> Tap or JoinedTap), ``examples`` (as written -> tensor or list of tensors),
    ``layouts`` (as written -> Layout),
    ``untrained`` (the taps, as written, of which a tensor depends on no trainable parameter,
    with ``training``), ``counts`` and ``clone`` for the Recorder, ``size`` (the image's width;
    None for a network that sees none) and ``batch`` (what it ran on).

    Raises:
        ValueError: The model does not run on a random batch, or its parts do not fit each other.
    """

    def __init__(self, model, library, label, wanted, training, own_losses=True, shared=None):
        self.model, self.library, self.label, self.training = model, library, label, training
        self.own_losses, self.shared = own_losses, shared or {}
        self.errors, self.taps, self.examples, self.untrained = {}, {}, {}, set()
        self.layouts = {}
        self.size = self.batch = None
        check = getattr(library, 'check_parts', None)
        if check is not None:
            check(model, f'the {label}')
        self._names = {
            name: existing for name, taps in library.tap_names(model).items()
            if (existing := [tap for tap in taps
                             if all(exists(model, source.path) for source in tap.sources)])}
        wanted = list(dict.fromkeys(wanted))
        names = {text: name for text in wanted if (name := self._name_of(text)) is not None}
        paths = {text: tap for text in wanted if text not in names
                 and (tap := self._parse(text)) is not None}
        calls, overwritten = {}, set()
        if paths or names:
            meant, calls, overwritten = self._run(list(paths.values()), set(names.values()))
            for text, tap in paths.items():
                self._choose(text, tap, calls)
            for text, name in names.items():
                self._choose_name(text, name, meant, calls)
        used = {source for tap in self.taps.values() for source in tap.sources}
        self.counts = {source: len(calls[source]) for source in used}
        self.clone = overwritten & used

    def _name_of(self, text):
        """The semantic name in 'neck' or 'neck[:4]', where that is no path; else None."""
        name = split_levels(text)[0] if isinstance(text, str) else None
        known = name in self.library.MEANINGS
        return name if known and (name == text or name in self._names) else None

    def _parse(self, text):
        """The tap of a path, or of a list of paths; None after noting what is wrong with it."""
        if isinstance(text, tuple):
            taps = [self._parse_path(item, text) for item in text]
            return None if None in taps else JoinedTap(tuple(taps))
        return self._parse_path(text, text)

    def _parse_path(self, text, whole):
        try:
            tap = parse_tap(text)
        except ValueError as error:
            self.errors[whole] = str(error)
            return None
        try:
            find_module(self.model, tap.source.path, self.library.called(self.model))
        except ValueError as error:
            self.errors[whole] = f"{error} (semantic names here: {', '.join(self._names)})" + (
                '. A list of levels has paths in it, no names' if whole != text
                else did_you_mean(text, self._names))
            return None
        return tap

    # ---- running --------------------------------------------------------------------------
    def _run(self, paths, names):
        """Run on the first batch that works.

        Returns what :meth:`_meanings` does, what each source gave, and the sources whose
        tensors were overwritten.
        """
        def run(twin, batch):
            self.batch = batch
            return self._run_once(twin, paths, names)

        found, self.batch, size = run_on_random_batch(self.model, self.library, self.label, run)
        self.size = size and size[1]
        return found

    def _run_once(self, twin, paths, names):
        sources = {source for tap in paths for source in tap.sources}
        candidates = [tap for name in names for tap in self._names.get(name, ())]
        wanted = sources | {source for tap in candidates for source in tap.sources}
        if self.library.SAME_IN_TRAINING:
            recorder = self._forward(twin, wanted, wanted, self.training)
            return dict.fromkeys(names), recorder.calls, recorder.overwritten()
        meant = {}
        if names:
            meant, recorder = self._meanings(twin, wanted)
            sources |= {tap.source for taps in meant.values() for tap in taps}
        if self.training or not names:
            recorder = self._forward(twin, sources, sources, self.training)
        return meant, recorder.calls, recorder.overwritten()

    def _forward(self, twin, sources, wanted, training):
        inputs, samples = map_leaves(torch.clone, self.batch[0]), copy.deepcopy(self.batch[1])
        shared = {name: map_leaves(lambda x: x.to(device_of(twin)), value)
                  for name, value in self.shared.items()}
        watch = getattr(self.library, 'watch_maps', contextlib.nullcontext)
        with torch.set_grad_enabled(training), watch(twin), \
                Recorder(twin, sources, watch=True) as recorder:
            twin.train(training)
            if training and self.own_losses:
                twin.loss(inputs, samples)
            else:
                self.library.forward(twin, inputs, samples, [source.path for source in wanted],
                                     shared)
        return recorder

    # ---- taps as the user wrote them ------------------------------------------------------
    def _choose(self, text, tap, calls):
        silent = [source for source in tap.sources if not calls[source]]
        if silent:
            self.errors[text] = f"'{silent[0]}' never fires in a forward of the {self.label}"
            return
        try:
            value = tap.read(calls)
        except ValueError as error:
            self.errors[text] = str(error)
            return
        small = [x for x in leaves(value) if x.ndim < 2]
        if small:
            self.errors[text] = (f"'{tap}' gives a tensor of shape {tuple(small[0].shape)}, no map")
            return
        self._take(text, tap, value)

    def _take(self, text, tap, value):
        home = device_of(self.model)
        self.taps[text] = tap
        self.examples[text] = map_leaves(lambda x: x.detach().to(home), value)
        known = getattr(self.library, 'layout', None)
        name = split_levels(text)[0] if isinstance(text, str) else None
        self.layouts[text] = UNKNOWN if known is None else known(self.model, name, tap)
        if not all(is_trained(x) for x in leaves(value)):
            self.untrained.add(text)

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
                value = last_of(tap, calls)
                if value is None or not self.library.is_meant(self.model, name, tap, value, own):
                    continue
                same = [] if tap.derive else [Tap(source, index) for source in places
                                              for index in where(value, calls[source][-1:])]
                for place in (tap, *same):
                    meant[name].setdefault(place, form_of(derived(place, calls)))
        return meant, recorder

    def _choose_name(self, text, name, meant, calls):
        """The first tap that gives here what the name means: the same form in both modes."""
        if self.library.SAME_IN_TRAINING:
            self._choose_same(text, name, calls)
            return
        for tap, form in meant.get(name, {}).items():
            value = last_of(tap, calls)
            if value is None or form_of(derived(tap, calls)) != form:
                continue
            if len(calls[tap.source]) > 1:
                tap = replace(tap, index=(-1, *tap.index))
            self._take(name, tap, value)
            return
        self._lacks(name, name, [other for other, taps in meant.items() if taps])

    def _choose_same(self, text, name, calls):
        """The first tap of the name whose modules ran and that gives maps."""
        levels = split_levels(text)[1]
        for whole in self._names.get(name, ()):
            tap = whole if levels is None else replace(whole, levels=levels)
            value = read_or_none(tap, calls)
            if value is not None:
                self._take(text, tap, value)
                return
            there = None if tap is whole else read_or_none(whole, calls)
            if there is not None:
                count = len(there) if isinstance(there, list) else 1
                self.errors[text] = f'{text!r}: no level is left of the {count} of {name!r}'
                return
        self._lacks(text, name, self._names)

    def _lacks(self, text, name, there):
        what, who = self.library.MEANINGS[name]
        has = [other for other in there if other != name]
        self.errors[text] = (
            f'this {self.library.called(self.model)} has no {name!r} ({what}); it has '
            f"{', '.join(has) or 'no semantic names'}. Models that have it: {who}. Use one "
            "of this model's own names, or the path of a module")
