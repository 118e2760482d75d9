"""A reference case: what an official implementation was given, drew and returned.

``NAME.json`` says what ``NAME.npz`` holds: ``in__X`` inputs, ``param__M.W`` weights before the
call, ``rng__k_fn`` the k-th random draw, and the expected ``out__X``, ``mid__X`` (on the way),
``ref__X`` (by another formula), ``grad__LOSS__X``, ``gradp__LOSS__M.W`` and ``after__M.W``;
``layouts.py`` translates other layouts into this one.
An adapter turns a ``Case`` into an ``Outcome``; the numbers under the recorded names are then
computed here, the same way for every family.
"""
import contextlib
import re
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from tests.golden.files import EXPECTED, CaseError, read_json, read_npz
from tests.golden.layouts import read_layout

DRAWS = ('rand', 'randn', 'randint', 'randperm', 'rand_like', 'randn_like', 'bernoulli',
         'multinomial', 'normal')


class Outcome:
    """What mmkd computed for a case.

    Args:
        losses: name -> scalar tensor, for ``out__``, ``grad__`` and ``gradp__``.
        outputs: name -> tensor, the other ``out__``, ``mid__`` and ``ref__`` values.
        zero: names of the losses that must be zero where the official value is not finite.
        terms: recorded name -> tensor, what the value is a difference or a signed sum of, for
            those that may cancel out.
    """

    def __init__(self, losses, outputs=None, zero=(), terms=None):
        self.losses = losses
        self.outputs = {**losses, **(outputs or {})}
        self.zero = set(zero)
        self.terms = {key: float(value.detach().abs().max()) if value.numel() else 0.
                      for key, value in (terms or {}).items()}


class Case:
    """One reference case, loaded and ready to be computed.

    Args:
        path: the json file; the npz file lies beside it.
        name: what to call the case; the file's name by default.
        dtype: precision to compute in, the recorded one by default.
        bare: the family's BareArrays, if its arrays have no prefixes.

    Raises:
        CaseError: if a file is missing, unreadable or contradicts the other one.
    """

    def __init__(self, path, name=None, dtype=None, bare=None):
        path = Path(path)
        info, arrays = read_json(path), read_npz(path.with_suffix('.npz'))
        self.name = name or path.stem
        self.info, self.source = info, str(info.get('source', ''))
        self.args, recorded, arrays = read_layout(self.name, info, arrays, bare)
        self.dtype = dtype or recorded
        self.expected = {key: value for key, value in arrays.items() if key.startswith(EXPECTED)}
        self.inputs = {key[4:]: self.tensor(value, leaf=True)
                       for key, value in arrays.items() if key.startswith('in__')}
        self.weights = {key[7:]: self.tensor(value)
                        for key, value in arrays.items() if key.startswith('param__')}
        draws = [(key.split('_', 3), value)
                 for key, value in arrays.items() if key.startswith('rng__')]
        draws.sort(key=lambda draw: int(draw[0][2]))
        self.draws = [(words[3], self.tensor(value)) for words, value in draws]
        self.bound = {}

    def tensor(self, array, leaf=False):
        value = torch.from_numpy(np.array(array))
        if value.is_floating_point():
            value = value.to(self.dtype).requires_grad_(leaf)
        return value

    def input(self, *names):
        """The input recorded under the first of ``names`` that there is."""
        for name in names:
            if name in self.inputs:
                return self.inputs[name]
        raise CaseError(f'{self.name}: no input called {" or ".join(names)}; it has '
                        f'{", ".join(self.inputs)}')

    def arguments(self, **defaults):
        """The official arguments, completed by ``defaults``; one without a default is refused."""
        unknown = sorted(set(self.args) - set(defaults))
        if unknown:
            raise CaseError(f'{self.name}: the adapter does not know the official argument(s) '
                            f'{", ".join(unknown)}; it knows {", ".join(sorted(defaults))}')
        return {**defaults, **self.args}

    def find(self, suffix):
        """The full official name of the one weight that ends in ``suffix``, or None."""
        found = [name for name in self.weights
                 if name == suffix or name.endswith('.' + suffix)]
        if len(found) > 1:
            raise CaseError(f'{self.name}: several weights end in {suffix}: {", ".join(found)}')
        return found[0] if found else None

    def load(self, module, names):
        """Gives ``module`` the recorded weights.

        Args:
            module: one of mmkd's, moved to this case's precision and put in train mode.
            names: name in ``module.state_dict()`` -> ending of the official name. A BatchNorm or
                a layer may be given as a whole, without its last part.

        Raises:
            CaseError: if a weight of the module is not recorded or has another shape.
        """
        module.to(self.dtype).train()
        for name, value in module.state_dict(keep_vars=True).items():
            stem, _, leaf = name.rpartition('.')
            suffix = names.get(name) or (stem in names and f'{names[stem]}.{leaf}')
            official = suffix and self.find(suffix)
            if not official:
                raise CaseError(f'{self.name}: no recorded weight for {name} of '
                                f'{type(module).__name__}')
            recorded = self.weights[official]
            if recorded.shape != value.shape:
                raise CaseError(f'{self.name}: {official} has shape {tuple(recorded.shape)}, '
                                f'{name} of {type(module).__name__} {tuple(value.shape)}')
            value.data.copy_(recorded)
            self.bound[official] = value
        return module

    def unused(self, pattern):
        """Declares that weights whose name matches ``pattern`` take no part in this case."""
        for name, value in self.weights.items():
            if name not in self.bound and re.search(pattern, name):
                leaf = value.is_floating_point()
                self.bound[name] = value.clone().requires_grad_(leaf)

    def skip(self, pattern):
        """Declares that recorded values whose name (``mid__X``) matches ``pattern`` have no
        counterpart here: steps on the way that are another's, or losses of another part.

        Raises:
            CaseError: if no recorded output or gradient would be left.
        """
        self.expected = {key: value for key, value in self.expected.items()
                         if not re.search(pattern, key)}
        if not any(key.startswith(('out__', 'grad')) for key in self.expected):
            raise CaseError(f'{self.name}: nothing that is compared is recorded')

    def draw(self, function, *names):
        """Declares that the inputs ``names`` are what torch's ``function`` returned, in order."""
        self.draws += [(function, self.input(name).detach()) for name in names]

    @contextlib.contextmanager
    def feed_draws(self):
        """Within this, torch's random functions return the recorded draws, in order.

        Raises:
            CaseError: if another function is called than was recorded, another shape is asked
                for, or draws are left over.
        """
        left = list(self.draws)
        replacements = {name: self._feeder(name, left)
                        for name in {*DRAWS, *(name for name, _ in left)} if hasattr(torch, name)}
        with mock.patch.multiple(torch, **replacements):
            yield
        if left:
            raise CaseError(f'{self.name}: {len(left)} recorded draw(s) were not used, the first '
                            f'is torch.{left[0][0]} of shape {tuple(left[0][1].shape)}')

    def _feeder(self, function, left):
        def feed(*args, **kwargs):
            if not left:
                raise CaseError(f'{self.name}: torch.{function}{args} was called, but no recorded '
                                'draw is left')
            name, value = left.pop(0)
            shape = drawn_shape(function, args, kwargs)
            if name != function or (shape is not None and shape != tuple(value.shape)):
                raise CaseError(
                    f'{self.name}: torch.{function} of shape {shape} was called where torch.'
                    f'{name} of shape {tuple(value.shape)} was recorded')
            return value.clone()
        return feed

    def results(self, outcome):
        """mmkd's value for every recorded name, None for one that has no counterpart."""
        return {key: self._result(key, outcome) for key in self.expected}

    def _result(self, key, outcome):
        kind, _, name = key.partition('__')
        if kind in ('out', 'mid', 'ref'):
            return array(outcome.outputs.get(name))
        if kind == 'after':
            return array(self.bound.get(name))
        loss = max((known for known in outcome.losses if name.startswith(known + '__')),
                   key=len, default=None)
        if loss is None:
            return None
        holder = self.inputs if kind == 'grad' else self.bound
        leaf = holder.get(name[len(loss) + 2:])
        if leaf is None:
            return None
        return array(gradient(outcome.losses[loss], leaf))

    def unbound(self):
        """Recorded weights that the adapter neither loaded nor declared unused."""
        return sorted(set(self.weights) - set(self.bound))


def gradient(loss, leaf):
    """d loss / d leaf, zeros where the loss does not depend on it."""
    if not loss.requires_grad:
        raise CaseError('the loss has no graph: it cannot be differentiated')
    value, = torch.autograd.grad(loss.sum(), leaf, retain_graph=True, allow_unused=True)
    return torch.zeros_like(leaf) if value is None else value


def array(value):
    return None if value is None else value.detach().numpy().copy()


def drawn_shape(function, args, kwargs):
    """The shape a call of ``torch.<function>`` asks for, None where it is not that simple."""
    if function == 'randperm':
        return (int(args[0] if args else kwargs['n']),)
    if function in ('rand', 'randn'):
        size = args or (kwargs['size'],)
        return tuple(size[0]) if isinstance(size[0], (tuple, list)) else tuple(size)
    if function in ('rand_like', 'randn_like', 'bernoulli'):
        return tuple((args[0] if args else kwargs['input']).shape)
    return None
