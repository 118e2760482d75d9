"""Voxel to point by trilinear interpolation."""
import torch
from torch import Tensor

from .batches import join_samples
from .checks import accumulator, check_choice, check_points, check_same_device, check_tensor
from .grid import grid_coordinates, linear_cells
from .interpolation import interpolate_found
from .voxels import VoxelIndex

CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]


def trilinear_corners_reference(points: Tensor, batch_index: Tensor | None, unique: Tensor,
                                batch_size: int, voxel_size: list[float], low: list[float],
                                cells: list[int], shift: float) -> tuple[Tensor, Tensor]:
    """The eight voxels around each point, -1 where there is none, and their weights."""
    q = grid_coordinates(points[:, :3], voxel_size, low) - shift
    count = torch.tensor(cells, device=q.device)
    here = (q >= -1) & (q < count.float().to(q.dtype))
    below = torch.where(here, q.floor(), 0)
    fraction = torch.where(here, q - below, 0)
    batch = torch.zeros_like(below[:, 0]).long() if batch_index is None else batch_index
    near = here.all(1) & (batch >= 0) & (batch < batch_size)
    indices, weights = [], []
    for corner in CORNERS:
        up = torch.tensor(corner, device=q.device)
        cell = below.long() + up
        inside = near & ((cell >= 0) & (cell < count)).all(1)
        key = linear_cells(cell, batch, cells)
        if unique.numel():
            at = torch.searchsorted(unique, key).clamp(max=unique.numel() - 1)
            inside = inside & (unique[at] == key)
        else:
            at, inside = key, torch.zeros_like(inside)
        indices.append(torch.where(inside, at, -1))
        wx, wy, wz = torch.where(up.bool(), fraction, 1 - fraction).unbind(1)
        weights.append(torch.where(inside, wx * wy * wz, 0))
    total = torch.zeros_like(fraction[:, 0])
    for weight in weights:
        total = total + weight
    total = total + 1e-8
    return torch.stack(indices, 1), torch.stack([w / total for w in weights], 1)


_trilinear_corners = torch.library.custom_op(
    'mmkd::trilinear_corners', trilinear_corners_reference, mutates_args=())


@_trilinear_corners.register_fake
def _(points, batch_index, unique, batch_size, voxel_size, low, cells, shift):
    shape = points.shape[0], 8
    return points.new_empty(shape, dtype=torch.int64), \
        points.new_empty(shape, dtype=accumulator(points.dtype))


def devoxelize_trilinear(features, points, index, batch_index=None, node='corner'):
    """Interpolate voxel features at points, from the eight voxels around each.

    Voxels without a feature (empty, or outside the grid) take no part: the weights of the
    others are divided by their sum + 1e-8, as torchsparse's ``spdevoxelize`` does. A point
    with no voxel around it, or with a NaN or an infinite coordinate, gets zeros. Gradients
    reach the voxel features, not the points.

    Args:
        features: (M, C) floating, one row per voxel of ``index``.
        points: (N, >= 3) floating, x, y, z in metres first, or a list with one such cloud per
            sample. Need not be the points that the index was made of.
        index: :class:`VoxelIndex` that says which voxels there are.
        batch_index: (N,) sample of each point.
        node: where the feature of a voxel sits: 'corner', at its lower corner, which is what
            torchsparse and so SPVCNN do (a point near the end of its cell takes most from the
            next one), or 'center'.

    Returns:
        Tensor: (N, C), the dtype of ``features``.

    Raises:
        ValueError: features that do not go with the index, an unknown ``node``, points
            without x, y and z.
    """
    op = 'devoxelize_trilinear'
    check_choice(op, 'node', node, ('corner', 'center'))
    if not isinstance(index, VoxelIndex):
        raise ValueError(f'{op}: index must be a VoxelIndex, not {type(index).__name__}')
    check_tensor(op, 'features', features, (index.unique.shape[0], 'C'))
    size = None if batch_index is None and not isinstance(points, (list, tuple)) \
        else index.batch_size
    points, batch_index, samples = join_samples(op, 'points', points, ('N', 'C'), batch_index,
                                                size)
    if samples != index.batch_size:
        raise ValueError(f'{op}: the index has {index.batch_size} samples: give a batch_index, '
                         'or a list with one cloud per sample')
    check_points(op, points)
    check_same_device(op, features=features, points=points, index=index.unique)
    grid = index.grid
    indices, weights = _trilinear_corners(
        points.detach(), batch_index, index.unique, index.batch_size, list(grid.voxel_size),
        list(grid.low), list(grid.cells), 0. if node == 'corner' else 0.5)
    return interpolate_found(features, indices, weights)
