"""Sorted indices: which elements belong to which segment, found once and reused."""
import torch
from torch import Tensor

from .checks import INDEX, check_integer, check_tensor
from .grid import INT64_MAX


def unique_index_reference(keys: Tensor, limit: int = INT64_MAX,
                           ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unique keys in [0, limit) and who has them; see :func:`unique_index`."""
    valid = (keys >= 0) & (keys < limit)
    order = torch.where(valid, keys, INT64_MAX).argsort(stable=True)
    unique, inverse, counts = keys[valid].unique(return_inverse=True, return_counts=True)
    everyone = torch.full_like(keys, -1)
    everyone[valid] = inverse
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return unique, everyone, order, starts


_unique_index = torch.library.custom_op('mmkd::unique_index', unique_index_reference,
                                        mutates_args=())


@_unique_index.register_fake
def _(keys, limit=INT64_MAX):
    m = torch.library.get_ctx().new_dynamic_size()
    return keys.new_empty(m), torch.empty_like(keys), torch.empty_like(keys), \
        keys.new_empty(m + 1)


def unique_index(keys):
    """The distinct keys, sorted, and the elements that have them.

    Args:
        keys: (N,) int64; an element with a negative key, or the largest of int64, has none.

    Returns:
        tuple: ``unique`` (M,) sorted keys; ``inverse`` (N,) place of each element's key in
        ``unique``, -1 for none; ``order`` (N,) elements sorted by key and, within a key, by
        index, those without a key last; ``starts`` (M + 1,): the elements of key ``m`` are
        ``order[starts[m]:starts[m + 1]]``. All int64.
    """
    check_tensor('unique_index', 'keys', keys, ('N',), (torch.int64,))
    return _unique_index(keys)


def csr_index_reference(ids: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    """Elements sorted by id; see :func:`csr_index`."""
    ids = ids.long()
    ids = torch.where((ids >= 0) & (ids < num_segments), ids, INT64_MAX)
    ids, order = ids.sort(stable=True)
    starts = torch.searchsorted(ids, torch.arange(num_segments + 1, device=ids.device))
    return order, starts


_csr_index = torch.library.custom_op('mmkd::csr_index', csr_index_reference, mutates_args=())


@_csr_index.register_fake
def _(ids, num_segments):
    return ids.new_empty(ids.shape, dtype=torch.int64), \
        ids.new_empty(num_segments + 1, dtype=torch.int64)


def csr_index(ids, num_segments):
    """Elements sorted by segment.

    Args:
        ids: (N,) int32 or int64 segment of each element; one outside [0, num_segments)
            belongs to none.
        num_segments: S.

    Returns:
        tuple: ``order`` (N,) elements by segment and, within one, by index, those of no
        segment last; ``starts`` (S + 1,): segment ``s`` is ``order[starts[s]:starts[s + 1]]``.
        Both int64.
    """
    check_tensor('csr_index', 'ids', ids, ('N',), INDEX)
    check_integer('csr_index', 'num_segments', num_segments, 0)
    return _csr_index(ids, num_segments)
