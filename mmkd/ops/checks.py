"""Checks of what a caller hands to an operator; every message names the argument."""
import math

import torch

FLOATING = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INDEX = (torch.int32, torch.int64)


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


def check_indices(op, name, ids, low, high):
    """Refuse values outside [low, high). Reads the tensor, so not while compiling."""
    if torch.compiler.is_compiling() or ids.numel() == 0:
        return
    least, most = (int(v) for v in torch.aminmax(ids))
    if least < low or most >= high:
        raise ValueError(f'{op}: {name} must lie in [{low}, {high}), but holds values from '
                         f'{least} to {most}')


def check_integer(op, name, value, least=1, most=None):
    """Refuse what is not an integer in [least, most]."""
    if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
        raise ValueError(f'{op}: {name} must be an integer, not {value!r}')
    if value < least or (most is not None and value > most):
        bound = f'at least {least}' + (f' and at most {most}' if most is not None else '')
        raise ValueError(f'{op}: {name} must be {bound}, not {value}')


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
