"""The three layouts of recorded cases, and their translation into one.

Prefixed, the one that the rest of this package works with: ``NAME.npz`` says with a prefix what
each array is (see ``case.py``), ``NAME.json`` holds ``official_args`` and ``dtype``.

Bare, of the recordings of 3D methods: each array has its own name, the json holds ``args`` and
describes every array, and what is given and what expected is not in the files. The adapter of such
a family says so with a ``BareArrays`` called ``ARRAYS``.

Dotted, of the recordings of 2D detection: ``in.X`` inputs (random draws among them), ``w.M.W``
weights, ``out.X`` outputs, ``mid.X`` values on the way and ``ref.X`` values of other formulas,
``grad.X`` and ``gradw.M.W`` gradients of the loss ``loss``, or, where no such output is recorded,
of ``total``; ``grad.L.X`` is the gradient of the loss ``L``. The json holds ``args``.
"""
import math

import numpy as np
import torch

from tests.golden.files import CaseError, check_described, check_prefixed


class BareArrays:
    """What the arrays of a family with bare names are.

    A description is the kind, ``float``, ``int`` or ``any``, and the shape in letters that are
    bound by the first array that has them: ``'float B*N C H W'``, or ``*``: any shape. A ``?``
    after the kind says that the array may be missing. An empty array may be of any kind, ``int``
    also be truth values, and a number of ``float`` be recorded as a whole one.

    Args:
        given: name -> description of the inputs.
        expected: name -> description of the outputs.
        gradients: the inputs X of which ``grad_X`` is recorded.
        loss: the name, in the adapter's outcome, of the loss that these are gradients of.
        weights: whether arrays ``w.M.W`` are weights, and ``grad_w.M.W`` their gradients.
    """

    def __init__(self, given, expected, gradients=(), loss='loss', weights=False):
        self.weights = {'w.': 'param__', 'grad_w.': f'gradp__{loss}__'} if weights else {}
        self.known = {key: ('in__' + key, what) for key, what in given.items()}
        self.known |= {key: ('out__' + key, what) for key, what in expected.items()}
        self.known |= {f'grad_{key}': (f'grad__{loss}__{key}', given[key]) for key in gradients}

    def prefixed(self, name, arrays):
        """``arrays`` under prefixed names.

        Raises:
            CaseError: if an array is unknown, missing, or of another kind or shape.
        """
        weights = {key: prefix + key.removeprefix(bare) for key in arrays
                   for bare, prefix in self.weights.items() if key.startswith(bare)}
        unknown = sorted(set(arrays) - set(self.known) - set(weights))
        if unknown:
            raise CaseError(f'{name}: the adapter does not know the recorded array(s) '
                            f'{", ".join(unknown)}; it knows {", ".join(self.known)}')
        translated, sizes = {weights[key]: arrays[key] for key in weights}, {}
        for key, (prefixed, what) in self.known.items():
            kind, *dims = what.split()
            if key in arrays:
                kind = kind.rstrip('?')
                check_array(f'{name}: {key}', arrays[key], kind, dims, sizes)
                translated[prefixed] = as_kind(arrays[key], kind)
            elif not kind.endswith('?'):
                raise CaseError(f'{name}: the array {key} is missing')
        return translated


#: numpy's kinds (``dtype.kind``) and the dtype that an array of another one becomes
KINDS = {'float': ('f', np.float64), 'int': ('iu', np.int64), 'any': ('fiub', None)}


def as_kind(array, kind):
    """``array`` itself, or what stands for ``kind`` in its dtype."""
    kinds, dtype = KINDS[kind]
    return array if array.dtype.kind in kinds else array.astype(dtype)


def check_array(label, array, kind, dims, sizes):
    """Refuses an array of another kind or shape; binds new letters in ``sizes``."""
    stands = not array.size or kind == 'int' and array.dtype.kind == 'b' \
        or kind == 'float' and not array.ndim and array.dtype.kind in 'iu'
    if array.dtype.kind not in KINDS[kind][0] and not stands:
        raise CaseError(f'{label} is {array.dtype}, expected an array of {kind}')
    if dims == ['*']:
        return
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


DOTTED = {'in.': 'in__', 'w.': 'param__', 'out.': 'out__', 'mid.': 'mid__', 'ref.': 'ref__'}


def is_dotted(arrays):
    return any(key.startswith(('in.', 'out.')) for key in arrays)


def from_dotted(name, arrays):
    """``arrays`` of dotted names under prefixed names.

    Raises:
        CaseError: if a name has an unknown prefix, or a gradient is of no input or weight.
    """
    main = 'loss' if 'out.loss' in arrays else 'total'
    translated = {}
    for key, value in arrays.items():
        prefix, _, rest = key.partition('.')
        loss, _, of = rest.partition('.')
        if prefix + '.' in DOTTED:
            translated[DOTTED[prefix + '.'] + rest] = value
        elif prefix == 'gradw' and f'w.{rest}' in arrays:
            translated[f'gradp__{main}__{rest}'] = value
        elif prefix == 'grad' and f'in.{rest}' in arrays:
            translated[f'grad__{main}__{rest}'] = value
        elif prefix == 'grad' and f'in.{of}' in arrays:
            translated[f'grad__{loss}__{of}'] = value
        else:
            known = ', '.join([*DOTTED, 'grad.', 'gradw.'])
            raise CaseError(f'{name}: what is the array {key}? Names begin with one of {known}, '
                            'and a gradient names an input or a weight')
    return translated


def named_by_kind(info):
    """Whether a case is called FAMILY_KIND, where KIND may have several words and a number."""
    return 'args' in info and 'official_args' not in info


def read_layout(name, info, arrays, bare=None):
    """A case of any layout in the prefixed one.

    Args:
        name: what to call the case in messages.
        info: content of the json file.
        arrays: content of the npz file.
        bare: the family's BareArrays, None for the other layouts, which their names tell apart.

    Returns:
        The official arguments, the precision of the recording as a torch dtype, and the arrays
        under prefixed names.

    Raises:
        CaseError: if the files contradict each other or something is missing.
    """
    dotted = bare is None and is_dotted(arrays)
    args = info.get('args' if bare is not None or dotted else 'official_args') or {}
    if not isinstance(args, dict):
        raise CaseError(f'{name}: the arguments must be a json object, not {args!r}')
    check_described(name, info, arrays)
    if dotted:
        check_all_described(name, info, arrays)
        translated = from_dotted(name, arrays)
        check_prefixed(name, info, translated)
        return dict(args), precision(arrays), translated
    if bare is None:
        check_prefixed(name, info, arrays)
        return dict(args), getattr(torch, info.get('dtype', 'float64')), arrays
    check_all_described(name, info, arrays)
    return dict(args), precision(arrays), bare.prefixed(name, arrays)


def check_all_described(name, info, arrays):
    """Refuses arrays that the json does not describe."""
    nowhere = sorted(set(arrays) - set(info.get('arrays', {})))
    if nowhere:
        raise CaseError(f'{name}: the json does not describe {", ".join(nowhere)}')


def precision(arrays):
    """float64 if all floating arrays are, else float32."""
    floating = [value.dtype for value in arrays.values() if np.issubdtype(value.dtype, np.floating)]
    double = bool(floating) and all(dtype == np.float64 for dtype in floating)
    return torch.float64 if double else torch.float32
