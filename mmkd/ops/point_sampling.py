"""Furthest point sampling: points that are far from each other, one after the other."""
import torch
from torch import Tensor

from .checks import check_integer, check_tensor
from .neighbours import check_cloud_size, full_precision


def _sample(start, count, distances_to):
    """``count`` indices (B, count) int32; ``start`` (B, N): distances before the first."""
    samples, n = start.shape
    out = start.new_full((samples, count), -1, dtype=torch.int32)
    if n == 0 or count == 0:
        return out
    nearest, current = start, start.new_zeros(samples, dtype=torch.int64)
    out[:, 0] = 0
    for j in range(1, count):
        distances = distances_to(current)
        nearest = torch.where(distances < nearest, distances, nearest)
        current = nearest.argmax(1)
        out[:, j] = current
    return out


def furthest_points_reference(points: Tensor, num_points: int) -> Tensor:
    """Furthest points by coordinates; see :func:`furthest_point_sample`."""
    x, y, z = points.unbind(2)
    batch = torch.arange(points.shape[0], device=points.device)

    def distances_to(current):
        cx, cy, cz = points[batch, current, :, None].unbind(1)
        return (x - cx).square() + (y - cy).square() + (z - cz).square()

    # What is not finite is nearer than anything, so that it is never the furthest.
    start = torch.where(points.isfinite().all(2), torch.inf, -1).to(points.dtype)
    return _sample(start, num_points, distances_to)


def furthest_rows_reference(distances: Tensor, num_points: int) -> Tensor:
    """Furthest points by a matrix; see :func:`furthest_point_sample_with_dist`."""
    batch = torch.arange(distances.shape[0], device=distances.device)
    start = distances.new_full(distances.shape[:2], torch.inf)
    return _sample(start, num_points, lambda current: distances[batch, current])


_furthest_points = torch.library.custom_op('mmkd::furthest_points', furthest_points_reference,
                                           mutates_args=())
_furthest_rows = torch.library.custom_op('mmkd::furthest_rows', furthest_rows_reference,
                                         mutates_args=())


@_furthest_points.register_fake
def _(points, num_points):
    return points.new_empty((points.shape[0], num_points), dtype=torch.int32)


@_furthest_rows.register_fake
def _(distances, num_points):
    return distances.new_empty((distances.shape[0], num_points), dtype=torch.int32)


def _check(op, name, tensor, num_points):
    check_integer(op, 'num_points', num_points, 0)
    check_cloud_size(op, name, tensor.shape[1])
    if tensor.shape[0] and not tensor.shape[1] and num_points:
        raise ValueError(f'{op}: {name} has no point to sample')


def furthest_point_sample(points, num_points):
    """Start with point 0; take the point furthest from all that were taken, again and again.

    As ``mmcv.ops`` has it, with the order defined: of equally distant points the one with the
    lowest index. Points with NaN or infinity are not taken (point 0 always is; so it is
    again when nothing finite is left). When all points have been taken, the lowest index
    repeats. Distances are float32 (float64 for float64 points).

    Args:
        points: (B, N, 3) floating.
        num_points: M, at least 0; may be larger than N.

    Returns:
        Tensor: (B, M) int32 indices, without gradient.

    Raises:
        ValueError: points of another shape, M below 0, clouds without a point.
    """
    op = 'furthest_point_sample'
    check_tensor(op, 'points', points, ('B', 'N', 3))
    _check(op, 'points', points, num_points)
    return _furthest_points(full_precision(points), num_points)


def furthest_point_sample_with_dist(distances, num_points):
    """:func:`furthest_point_sample` where the distances are known.

    Args:
        distances: (B, N, N) floating, any that are not negative, e.g. squared distances of
            features; row i holds the distances from point i. NaN counts as unknown.
        num_points: M, at least 0.

    Returns:
        Tensor: (B, M) int32 indices, without gradient.

    Raises:
        ValueError: as :func:`furthest_point_sample`.
    """
    op = 'furthest_point_sample_with_dist'
    check_tensor(op, 'distances', distances, ('B', 'N', 'N'))
    check_tensor(op, 'distances', distances, ('B', 'N', distances.shape[1]))
    _check(op, 'distances', distances, num_points)
    return _furthest_rows(full_precision(distances), num_points)
