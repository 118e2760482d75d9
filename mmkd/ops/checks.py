"""Checks of what a caller hands to an operator; every message names the argument.

Shapes, dtypes and numbers are always checked. Values of tensors are read for it, all of a call
at once and here alone, unless :func:`check_values` has switched that off.
"""
import math
import os

import torch

CHECKS = 'MMKD_OPS_CHECKS'

FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INDEX = (torch.int32, torch.int64)

INT32_MAX = torch.iinfo(torch.int32).max
INT64_MAX = torch.iinfo(torch.int64).max


def accumulator(dtype):
    """What a sum over ``dtype`` is kept in: float32 for the half types."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def accumulated(tensor):
    """In the type that sums are kept in."""
    return tensor.to(accumulator(tensor.dtype))


def sizes_differ(a, b):
    """a != b. While compiling, where a size may be known at run time alone (the number of
    voxels), the graph gets an assertion instead."""
    if torch.compiler.is_compiling():
        torch._check(a == b)
        return False
    return a != b


def exceeds(value, most):
    """value > most; an assertion while compiling, as in :func:`sizes_differ`."""
    if torch.compiler.is_compiling():
        torch._check(value <= most)
        return False
    return value > most


def check_tensor(op, name, tensor, shape, dtypes=FLOATING):
    """Refuse what is not a strided tensor of one of ``dtypes`` and of ``shape``.

    Args:
        shape: one entry per axis: a number, or a letter for any size, e.g. ``('N', 3)``.
    """
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f'{op}: {name} must be a tensor, not {type(tensor).__name__}')
    if tensor.layout != torch.strided:
        raise ValueError(f'{op}: {name} must be a dense tensor, not {tensor.layout}')
    if tensor.dtype not in dtypes:
        allowed = ', '.join(str(d).removeprefix('torch.') for d in dtypes)
        raise ValueError(f'{op}: {name} must be {allowed}, not '
                         f"{str(tensor.dtype).removeprefix('torch.')}")
    fits = tensor.dim() == len(shape) and not any(
        not isinstance(want, str) and sizes_differ(have, want)
        for have, want in zip(tensor.shape, shape, strict=True))
    if not fits:
        wanted = ', '.join(map(str, shape))
        raise ValueError(f'{op}: {name} must have shape ({wanted}), not {tuple(tensor.shape)}')


def check_points(op, points):
    """Refuse a cloud (N, C) without the channels x, y, z."""
    check_tensor(op, 'points', points, ('N', 'C'))
    if points.shape[1] < 3:
        raise ValueError(f'{op}: points must have at least the channels x, y, z, but their '
                         f'shape is {tuple(points.shape)}')


def check_same_device(op, **tensors):
    """Refuse tensors that lie on different devices."""
    devices = {name: t.device for name, t in tensors.items() if t is not None}
    if len(set(devices.values())) > 1:
        raise ValueError(f'{op}: tensors lie on different devices: '
                         + ', '.join(f'{n} on {d}' for n, d in devices.items()))


def check_same_dtype(op, **tensors):
    """Refuse tensors of different dtypes."""
    dtypes = {name: t.dtype for name, t in tensors.items() if t is not None}
    if len(set(dtypes.values())) > 1:
        raise ValueError(f'{op}: tensors have different dtypes: '
                         + ', '.join(f'{n} {d}' for n, d in dtypes.items()))


def _wanted(value):
    """Whether ``$MMKD_OPS_CHECKS`` asks for the checks of values."""
    if value not in ('0', '1'):
        raise ValueError(f'{CHECKS}={value!r} is neither 0 nor 1')
    return value == '1'


_checked = _wanted(os.environ.get(CHECKS, '1'))


class ValueChecks:
    """Ends in a ``with`` block what :func:`check_values` began."""

    def __init__(self, before):
        self._before = before

    def __enter__(self):
        return self

    def __exit__(self, *error):
        global _checked
        _checked = self._before


def check_values(enabled):
    """Switch the checks of values on or off: a call, or a ``with`` block.

    They are on unless ``MMKD_OPS_CHECKS=0`` is in the environment. An operator then reads the
    least and the largest of its indices (labels, lengths, samples) once, and refuses those out of
    range; on a GPU that waits for all work before it. Off, nothing is read: an index out of range
    is skipped, never followed, as while compiling. Of the whole process, all threads.

    Args:
        enabled: True or False.

    Raises:
        ValueError: ``enabled`` is no bool.
    """
    global _checked
    if not isinstance(enabled, bool):
        raise ValueError(f'check_values: enabled must be True or False, not {enabled!r}')
    before, _checked = _checked, enabled
    return ValueChecks(before)


def values_are_checked():
    """Whether values are looked at now: not while compiling, where there are none."""
    return _checked and not torch.compiler.is_compiling()


def read(scalars):
    """The numbers in some 0-dim integer tensors: one wait for the device."""
    return torch.stack(list(scalars)).tolist()


def check_ranges(op, *ranges, also=()):
    """Refuse values out of range, of all tensors with one read.

    Args:
        ranges: (name, tensor, low, high) each: its values must lie in [low, high).
        also: further 0-dim integer tensors to be read.

    Returns:
        list: the numbers in ``also``. Empty where values are not checked.
    """
    if not values_are_checked():
        return []
    ranges = [asked for asked in ranges if asked[1].numel()]
    bounds = [bound for asked in ranges for bound in torch.aminmax(asked[1])]
    found = read([*bounds, *also]) if bounds or also else []
    for i, (name, _, low, high) in enumerate(ranges):
        least, most = found[2 * i:2 * i + 2]
        if least < low or most >= high:
            raise ValueError(f'{op}: {name} must lie in [{low}, {high}), but holds values from '
                             f'{least} to {most}')
    return found[2 * len(ranges):]


def check_integer(op, name, value, least=1, most=INT64_MAX):
    """Refuse what is not an integer in [least, most]."""
    if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
        raise ValueError(f'{op}: {name} must be an integer (int), not {value!r} '
                         f'({type(value).__name__})')
    # While compiling a size may not be known yet, and is an int64 anyway.
    if value < least or (not torch.compiler.is_compiling() and value > most):
        bound = f'least {least}' if value < least else f'most {most}'
        raise ValueError(f'{op}: {name} must be at {bound}, not {value}')


def check_integers(op, name, values, axes, least=1):
    """``values`` (a tensor or an array, too) as a tuple of integers of at least ``least``, one
    for each letter of ``axes``."""
    if hasattr(values, 'tolist'):
        values = values.tolist()
    if not isinstance(values, (list, tuple)) or len(values) != len(axes):
        raise ValueError(f"{op}: {name} must be {len(axes)} integers ({', '.join(axes)}), not "
                         f'{values!r}')
    for axis, value in zip(axes, values, strict=True):
        check_integer(op, f'{name} {axis}', value, least)
    return tuple(values)


def check_number(op, name, value):
    """``value`` as a finite float."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not -math.inf < number < math.inf:
        raise ValueError(f'{op}: {name} must be a finite number, not {value!r}')
    return number


def check_floats(op, name, values, count):
    """``values`` as a tuple of ``count`` finite floats."""
    if isinstance(values, torch.Tensor):
        values = values.tolist()
    try:
        numbers = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        raise ValueError(f'{op}: {name} must be {count} numbers, not {values!r}') from None
    # Compared, not asked with math.isfinite: a number may be symbolic while compiling.
    if len(numbers) != count or not all(-math.inf < v < math.inf for v in numbers):
        raise ValueError(f'{op}: {name} must be {count} finite numbers, not {values!r}')
    return numbers


def check_choice(op, name, value, choices):
    """Refuse what is not one of ``choices``."""
    if value not in choices:
        raise ValueError(f'{op}: {name} must be one of {", ".join(map(repr, choices))}, '
                         f'not {value!r}')
