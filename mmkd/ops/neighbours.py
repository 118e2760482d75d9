"""Nearest neighbours in any number of channels, and points within a radius."""
import math

import torch
from torch import Tensor

from .checks import (
    INDEX,
    accumulated,
    check_floats,
    check_integer,
    check_ranges,
    check_same_device,
    check_same_dtype,
    check_tensor,
)
from .grid import INT32_MAX, float32

# The references work on about this many bytes at a time, with eight int64 per distance for
# what is computed on the way from it to its place in the order.
TILE_BYTES = 64 * 2 ** 20
DISTANCE_BYTES = 64
# Packed (distance, index) of no neighbour: the bits of infinity, and an index all ones.
NOBODY = 0x7f800000ffffffff


def tile_rows(points):
    """How many queries a tile has."""
    return max(1, TILE_BYTES // (DISTANCE_BYTES * max(1, points)))


def squared_distances(query, cloud):
    """(Q, N) sums of (q - p)^2 over the channels, in order; ``cloud`` is (C, N)."""
    distances = query.new_zeros(query.shape[0], cloud.shape[1])
    for c in range(cloud.shape[0]):
        distances += (query[:, c, None] - cloud[c]).square()
    return distances


def _nearest(distances, count):
    """(indices, distances) of the ``count`` least, equal ones by index; -1 where infinite."""
    if distances.dtype == torch.float64:
        distances, indices = (t[:, :count] for t in distances.sort(stable=True))
        return torch.where(distances == torch.inf, -1, indices), distances
    # Bits of a float that is not negative order as the float does.
    index = torch.arange(distances.shape[1], device=distances.device)
    packed = (distances.view(torch.int32).long() << 32) | index
    packed = torch.where(distances == torch.inf, NOBODY, packed)
    packed = packed.topk(count, largest=False, sorted=True).values
    return torch.where(packed == NOBODY, -1, packed & 0xffffffff), \
        (packed >> 32).int().view(torch.float32)


def knn_reference(query: Tensor, points: Tensor, k: int, query_lengths: Tensor | None,
                  point_lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Nearest points, by tiles of queries; see :func:`knn`. float32 or float64."""
    (b, q, _), n = query.shape, points.shape[1]
    indices = query.new_full((b, q, k), -1, dtype=torch.int64)
    distances = query.new_full((b, q, k), torch.inf)
    rows, kept = tile_rows(n), min(k, n)
    for sample in range(b if kept else 0):
        cloud = points[sample].t().contiguous()
        for at in range(0, q, rows):
            tile = squared_distances(query[sample, at:at + rows], cloud)
            valid = tile.isfinite()
            if point_lengths is not None:
                valid &= torch.arange(n, device=tile.device) < point_lengths[sample]
            if query_lengths is not None:
                row = torch.arange(at, at + len(tile), device=tile.device)
                valid &= row[:, None] < query_lengths[sample]
            found, far = _nearest(torch.where(valid, tile, torch.inf), kept)
            indices[sample, at:at + rows, :kept] = found
            distances[sample, at:at + rows, :kept] = far
    return indices, distances


_knn = torch.library.custom_op('mmkd::knn', knn_reference, mutates_args=())


@_knn.register_fake
def _(query, points, k, query_lengths, point_lengths):
    shape = (*query.shape[:2], k)
    return query.new_empty(shape, dtype=torch.int64), query.new_empty(shape)


def full_precision(tensor):
    """Detached, in float32 if it is a half type."""
    return accumulated(tensor.detach())


def check_cloud_size(op, name, count):
    """Refuse more points than int32 can number."""
    if count > INT32_MAX:
        raise ValueError(f'{op}: {name} has {count} points; int32 numbers {INT32_MAX}')


def knn(query, points, k, query_lengths=None, point_lengths=None):
    """The k nearest points of each query, in a space of any number of channels.

    The squared distance is the sum of (q - p)^2 over the channels, added in their order in
    float32 (half types are converted first; float64 in float64): no device and no tile size
    changes a bit. Neighbours come by distance, equally distant ones by index. A distance
    that is not finite (NaN, infinite or overflowing coordinates) makes no neighbour.

    Args:
        query: (B, Q, C) floating, or (Q, C).
        points: (B, N, C), or (N, C); same dtype. Memory grows with B * (N * C + Q * k) alone.
        k: at least 1.
        query_lengths: (B,) int32 or int64; queries from there on are padding and get none.
        point_lengths: (B,) points from there on are padding and are never found.

    Returns:
        tuple: indices (B, Q, k) int64 and squared distances (B, Q, k) float32 (float64 for
        float64), without B where the inputs have none. Where there are fewer than k
        neighbours the rest is -1 and infinity. Neither carries a gradient.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, k below 1, lengths outside
            the batch.
    """
    op = 'knn'
    check_integer(op, 'k', k)
    single = isinstance(query, Tensor) and query.dim() == 2
    if single:
        check_tensor(op, 'points', points, ('N', query.shape[1]))
        query, points = query[None], points[None]
    check_tensor(op, 'query', query, ('B', 'Q', 'C'))
    b, q, c = query.shape
    check_tensor(op, 'points', points, (b, 'N', c))
    check_same_dtype(op, query=query, points=points)
    check_same_device(op, query=query, points=points, query_lengths=query_lengths,
                      point_lengths=point_lengths)
    check_cloud_size(op, 'points', points.shape[1])
    ranges = []
    for name, length, most in (('query_lengths', query_lengths, q),
                               ('point_lengths', point_lengths, points.shape[1])):
        if length is not None:
            check_tensor(op, name, length, (b,), INDEX)
            ranges.append((name, length, 0, most + 1))
    check_ranges(op, *ranges)
    lengths = [None if length is None else length.long()
               for length in (query_lengths, point_lengths)]
    found = _knn(full_precision(query), full_precision(points), k, *lengths)
    return tuple(t[0] for t in found) if single else found


def three_nn(query, points):
    """The three nearest points of each query, as ``mmcv.ops.three_nn`` has it.

    Args:
        query: (B, Q, 3) floating.
        points: (B, N, 3); same dtype.

    Returns:
        tuple: Euclidean distances (B, Q, 3), float32 (float64 for float64), and indices
        (B, Q, 3) int32, by distance and then by index. With fewer than three points
        the rest is infinity and -1 (mmcv: 0). Neither carries a gradient.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit.
    """
    check_tensor('three_nn', 'query', query, ('B', 'Q', 3))
    check_tensor('three_nn', 'points', points, (query.shape[0], 'N', 3))
    indices, distances = knn(query, points, 3)
    return distances.sqrt(), indices.int()


def ball_query_reference(centers: Tensor, points: Tensor, min_square: float, max_square: float,
                         samples: int) -> Tensor:
    """First points in a shell, by tiles of centers; see :func:`ball_query`."""
    (b, q, _), n = centers.shape, points.shape[1]
    out = centers.new_zeros((b, q, samples), dtype=torch.int32)
    rows, kept = tile_rows(n), min(samples, n)
    index = torch.arange(n, device=points.device, dtype=torch.int32)
    for sample in range(b if kept else 0):
        cloud = points[sample].t().contiguous()
        for at in range(0, q, rows):
            tile = squared_distances(centers[sample, at:at + rows], cloud)
            hit = (tile == 0) | ((tile >= min_square) & (tile < max_square))
            first = torch.where(hit, index, n).topk(kept, largest=False, sorted=True).values
            first = torch.where(first == n, first[:, :1], first)
            out[sample, at:at + rows] = first[:, :1]
            out[sample, at:at + rows, :kept] = first
    return torch.where(out == n, 0, out)


_ball_query = torch.library.custom_op('mmkd::ball_query', ball_query_reference, mutates_args=())


@_ball_query.register_fake
def _(centers, points, min_square, max_square, samples):
    return centers.new_empty((*centers.shape[:2], samples), dtype=torch.int32)


def _square(radius):
    """The square of a radius in float32, as mmcv computes it; may be infinite."""
    radius = float32(radius)
    return float32(radius * radius) if radius < math.inf else radius


def ball_query(min_radius, max_radius, sample_num, points, centers):
    """The first points, in their order, within a shell around each center; as ``mmcv.ops``.

    A point is in when its distance d from the center is 0 or min_radius <= d < max_radius
    (squares of float32 radii are compared). Not the nearest ones: the first ``sample_num``
    of the cloud. The first hit fills the places that are left, 0 where there is none (also
    for an empty cloud). Points and centers with NaN are in no ball.

    Args:
        min_radius, max_radius: metres, 0 <= min_radius < max_radius.
        sample_num: S, at least 1.
        points: (B, N, 3) floating points, any of the N; half types are compared in float32.
        centers: (B, Q, 3); same dtype.

    Returns:
        Tensor: (B, Q, S) int32 indices into the N points.

    Raises:
        ValueError: radii that are no shell, shapes, dtypes or devices that do not fit.
    """
    op = 'ball_query'
    low, high = check_floats(op, 'radii', (min_radius, max_radius), 2)
    if not 0 <= low < high:
        raise ValueError(f'{op}: the radii must be 0 <= min_radius < max_radius, not '
                         f'{min_radius} and {max_radius}')
    check_integer(op, 'sample_num', sample_num)
    check_tensor(op, 'points', points, ('B', 'N', 3))
    check_tensor(op, 'centers', centers, (points.shape[0], 'Q', 3))
    check_same_dtype(op, points=points, centers=centers)
    check_same_device(op, points=points, centers=centers)
    check_cloud_size(op, 'points', points.shape[1])
    return _ball_query(full_precision(centers), full_precision(points), _square(low),
                       _square(high), sample_num)
