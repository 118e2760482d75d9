"""The samples of a batch: a list with one tensor each, or one tensor with a batch index."""
import torch
from torch import Tensor

from .checks import (
    FLOATING,
    INDEX,
    check_integer,
    check_ranges,
    check_same_device,
    check_tensor,
    read,
    values_are_checked,
)


def join(op, name, parts, shape, dtypes=FLOATING):
    """One tensor of a list with one for each sample, which differ in length alone."""
    if not isinstance(parts, (list, tuple)):
        raise ValueError(f'{op}: {name} must be a list with a tensor for each sample, not '
                         f'{type(parts).__name__}')
    if not parts:
        raise ValueError(f'{op}: the list of {name} is empty')
    first = parts[0]
    for i, part in enumerate(parts):
        check_tensor(op, f'{name}[{i}]', part, shape, dtypes)
        if (part.shape[1:], part.dtype, part.device) != \
                (first.shape[1:], first.dtype, first.device):
            raise ValueError(f'{op}: {name}[{i}] ({tuple(part.shape)}, {part.dtype}, '
                             f'{part.device}) does not go with {name}[0] '
                             f'({tuple(first.shape)}, {first.dtype}, {first.device})')
    return torch.cat(list(parts))


def join_samples(op, name, items, shape, batch_index, batch_size):
    """One tensor of all samples, and which sample each of its rows is of.

    Args:
        items: a tensor of ``shape``, or a list with one for each sample.
        batch_index: (rows,) sample of each row, or None: one sample; None of a list.
        batch_size: None for the length of the list or one more than the largest index.

    Returns:
        tuple: the rows, their batch index (int64, None where all are of one sample that was
        no list) and the batch size.
    """
    if isinstance(items, (list, tuple)):
        if batch_index is not None:
            raise ValueError(f'{op}: a list of {name} has its batch index already')
        joined = join(op, name, items, shape)
        if batch_size not in (None, len(items)):
            raise ValueError(f'{op}: {len(items)} tensors in the list of {name}, but batch_size '
                             f'is {batch_size}')
        batch_index = torch.cat([torch.full((len(part),), i, device=joined.device)
                                 for i, part in enumerate(items)])
        return joined, batch_index, len(items)
    check_tensor(op, name, items, shape)
    return items, *check_batch(op, name, items, batch_index, batch_size)


def check_batch(op, name, rows, batch_index, batch_size, *ranges):
    """(batch index in int64 or None, batch size) of the ``rows`` of a tensor.

    ``ranges``: of other arguments, for :func:`check_ranges`, to be read together with it.
    """
    if batch_index is None:
        if batch_size not in (None, 1):
            raise ValueError(f'{op}: batch_size {batch_size} needs a batch_index that says which '
                             f'sample each of the {name} is of')
        check_ranges(op, *ranges)
        return None, 1
    check_tensor(op, 'batch_index', batch_index, (rows.shape[0],), INDEX)
    check_same_device(op, **{name: rows}, batch_index=batch_index)
    if batch_size is None:
        return batch_index.long(), _count_samples(op, batch_index, ranges)
    check_integer(op, 'batch_size', batch_size)
    check_ranges(op, ('batch_index', batch_index, 0, batch_size), *ranges)
    return batch_index.long(), batch_size


def samples_reference(batch_index: Tensor) -> Tensor:
    """(B,) of nothing: a size that depends on values, which a compiled graph can hold."""
    count = int(batch_index.max()) + 1 if batch_index.shape[0] else 1
    return batch_index.new_empty(max(1, count))


_samples = torch.library.custom_op('mmkd::samples', samples_reference, mutates_args=())


@_samples.register_fake
def _(batch_index):
    return batch_index.new_empty(torch.library.get_ctx().new_dynamic_size(min=1))


def _count_samples(op, batch_index, ranges):
    """One more than the largest index, which is read together with ``ranges``."""
    if torch.compiler.is_compiling():
        return _samples(batch_index).shape[0]
    if not batch_index.shape[0]:
        check_ranges(op, *ranges)
        return 1
    if not values_are_checked():
        return max(1, read([batch_index.max()])[0] + 1)
    least, most = check_ranges(op, *ranges, also=torch.aminmax(batch_index))
    if least < 0:
        raise ValueError(f'{op}: batch_index must not be negative, but holds values from '
                         f'{least} to {most}')
    return most + 1
