"""Blocks of voxels, and fixed-size samples of what lies in them."""
import torch

from .checks import INDEX, check_choice, check_integer, check_integers, check_ranges, check_tensor
from .grid import Grid
from .segments import unique_index
from .voxels import VoxelIndex, voxel_coors


def supervoxel_index(index, block, of='points'):
    """Group the points, or the voxels, of an index into blocks of voxels (PVD's supervoxels).

    The block of a voxel is floor(voxel / block) along each axis; blocks at the end of the grid
    may be cut short.

    Args:
        index: :class:`VoxelIndex`.
        block: (x, y, z) voxels per block.
        of: 'points': the result groups the points of ``index``; 'voxels': its voxels.

    Returns:
        VoxelIndex: the same as of a voxelisation with the larger cells, to be given to
        :func:`scatter_points` and the others. Both ``of`` give the same blocks in the same
        order.

    Raises:
        ValueError: a block of less than one voxel.
    """
    op = 'supervoxel_index'
    check_choice(op, 'of', of, ('points', 'voxels'))
    if not isinstance(index, VoxelIndex):
        raise ValueError(f'{op}: index must be a VoxelIndex, not {type(index).__name__}')
    block = check_integers(op, 'block', block, 'xyz')
    b, z, y, x = voxel_coors(index.unique, list(index.grid.cells), True).long().unbind(1)
    cells = tuple(-(-n // size) for n, size in zip(index.grid.cells, block, strict=True))
    keys = ((b * cells[2] + z // block[2]) * cells[1] + y // block[1]) * cells[0] + x // block[0]
    grid = Grid(tuple(s * n for s, n in zip(index.grid.voxel_size, block, strict=True)),
                index.grid.low, cells)
    if of == 'points':
        outside = keys.new_full((1,), -1)  # what inverse -1 points to
        keys = torch.cat([keys, outside])[index.inverse]
    return VoxelIndex(keys, *unique_index(keys), grid, index.batch_size)


def padded_members(index, segments, size, generator=None):
    """The members of some segments, cut or padded to a fixed number: for affinity matrices.

    Args:
        index: :class:`VoxelIndex`.
        segments: (S,) integer voxels (or supervoxels) to look at.
        size: members per segment. A segment with more gives its first, by index, or a random
            choice when there is a ``generator``.
        generator: torch.Generator on the index's device.

    Returns:
        Tensor: (S, size) int64 elements of the index, -1 where a segment has fewer.

    Raises:
        ValueError: a segment that is not in the index, or ``size`` below one.
    """
    check_tensor('padded_members', 'segments', segments, ('S',), INDEX)
    check_integer('padded_members', 'size', size)
    count = index.unique.shape[0]
    check_ranges('padded_members', ('segments', segments, 0, count))
    segments = segments.long()
    # One that is none, with the checks off, begins and ends where the first segment begins.
    known = (segments >= 0) & (segments < count)
    first, last = torch.where(known, segments, 0), torch.where(known, segments + 1, 0)
    order, starts = index.order, index.starts
    if generator is not None:
        # A random order of all elements, then sorted by segment: random within each.
        shuffled = torch.randperm(len(order), generator=generator, device=order.device)
        inverse = index.inverse[shuffled]
        behind = torch.where(inverse < 0, count, inverse)
        order = shuffled[behind.argsort(stable=True)]
    place = starts[first][:, None] + torch.arange(size, device=order.device)
    present = place < starts[last][:, None]
    if len(order) == 0:
        return torch.full_like(place, -1)
    return torch.where(present, order[place.clamp(max=len(order) - 1)], -1)
