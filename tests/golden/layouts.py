"""The two layouts of recorded cases, and their translation into one.

Prefixed, the one that the rest of this package works with: ``NAME.npz`` says with a prefix what
each array is (see ``case.py``), ``NAME.json`` holds ``official_args`` and ``dtype``.

Bare, of the recordings of 3D methods: each array has its own name, the json holds ``args`` and
describes every array, and what is given and what expected is not in the files. The adapter of such
a family says so with a ``BareArrays`` called ``ARRAYS``.
"""
import math

import numpy as np
import torch

from tests.golden.files import CaseError, check_described, check_prefixed


class BareArrays:
    """What the arrays of a family with bare names are.

    A description is the kind, ``float`` or ``int``, and the shape in letters that are bound by
    the first array that has them: ``'float B*N C H W'``. A ``?`` after the kind says that the
    array may be missing.

    Args:
        given: name -> description of the inputs.
        expected: name -> description of the outputs.
        gradients: the inputs X of which ``grad_X`` is recorded.
        loss: the name, in the adapter's outcome, of the loss that these are gradients of.
    """

    def __init__(self, given, expected, gradients=(), loss='loss'):
        self.known = {key: ('in__' + key, what) for key, what in given.items()}
        self.known |= {key: ('out__' + key, what) for key, what in expected.items()}
        self.known |= {f'grad_{key}': (f'grad__{loss}__{key}', given[key]) for key in gradients}

    def prefixed(self, name, arrays):
        """``arrays`` under prefixed names.

        Raises:
            CaseError: if an array is unknown, missing, or of another kind or shape.
        """
        unknown = sorted(set(arrays) - set(self.known))
        if unknown:
            raise CaseError(f'{name}: the adapter does not know the recorded array(s) '
                            f'{", ".join(unknown)}; it knows {", ".join(self.known)}')
        translated, sizes = {}, {}
        for key, (prefixed, what) in self.known.items():
            kind, *dims = what.split()
            if key in arrays:
                check_array(f'{name}: {key}', arrays[key], kind.rstrip('?'), dims, sizes)
                translated[prefixed] = arrays[key]
            elif not kind.endswith('?'):
                raise CaseError(f'{name}: the array {key} is missing')
        return translated


def check_array(label, array, kind, dims, sizes):
    """Refuses an array of another kind or shape; binds new letters in ``sizes``."""
    if not np.issubdtype(array.dtype, {'float': np.floating, 'int': np.integer}[kind]):
        raise CaseError(f'{label} is {array.dtype}, expected an array of {kind}')
    known = dict(sizes)
    if array.ndim == len(dims):
        sizes.update({dim: size for dim, size in zip(dims, array.shape, strict=True)
                      if dim.isalpha() and dim not in sizes})
        expected = [int(dim) if dim.isdigit() else math.prod(sizes[k] for k in dim.split('*'))
                    for dim in dims]
        if list(array.shape) == expected:
            return
    bound = ', '.join(f'{letter}={size}' for letter, size in known.items())
    raise CaseError(f'{label} has shape {list(array.shape)}, expected ({", ".join(dims)})'
                    + (f' with {bound}' if bound else ''))


def named_by_kind(info):
    """Whether a case is called FAMILY_KIND, where KIND may have several words and a number."""
    return 'args' in info and 'official_args' not in info


def read_layout(name, info, arrays, bare=None):
    """A case of either layout in the prefixed one.

    Args:
        name: what to call the case in messages.
        info: content of the json file.
        arrays: content of the npz file.
        bare: the family's BareArrays, None for the prefixed layout.

    Returns:
        The official arguments, the precision of the recording as a torch dtype, and the arrays
        under prefixed names.

    Raises:
        CaseError: if the files contradict each other or something is missing.
    """
    args = info.get('official_args' if bare is None else 'args') or {}
    if not isinstance(args, dict):
        raise CaseError(f'{name}: the arguments must be a json object, not {args!r}')
    check_described(name, info, arrays)
    if bare is None:
        check_prefixed(name, info, arrays)
        return dict(args), getattr(torch, info.get('dtype', 'float64')), arrays
    nowhere = sorted(set(arrays) - set(info.get('arrays', {})))
    if nowhere:
        raise CaseError(f'{name}: the json does not describe {", ".join(nowhere)}')
    floating = [value.dtype for value in arrays.values() if np.issubdtype(value.dtype, np.floating)]
    double = bool(floating) and all(dtype == np.float64 for dtype in floating)
    return dict(args), torch.float64 if double else torch.float32, bare.prefixed(name, arrays)
