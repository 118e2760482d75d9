"""Neighbours at PointDistiller's and PointNet++'s sizes, against the usual PyTorch."""
import torch

from mmkd.ops.interpolation import interpolate
from mmkd.ops.neighbours import ball_query, knn, three_nn
from mmkd.ops.point_sampling import furthest_point_sample

from . import Case
from .clouds import lidar_cloud

RADIUS, SAMPLES = .8, 32


def ball_query_torch(points, centers):
    """The first hits of each ball, from a matrix of distances."""
    n = points.shape[1]
    index = torch.arange(n, device=points.device)
    hits = torch.where(torch.cdist(centers, points) < RADIUS, index, n)
    hits = hits.topk(SAMPLES, largest=False).values
    return torch.where(hits == n, hits[..., :1], hits)


def nearest_in_chunks(query, points, k):
    """The k nearest rows, 256 queries at a time: their distances stay in the cache."""
    return [torch.cdist(part, points).topk(k, largest=False) for part in query.split(256)]


def scipy_tree():
    """scipy's k-d tree, or None where there is no scipy."""
    try:
        from scipy.spatial import cKDTree
    except ImportError:
        return None
    return cKDTree


def three_nn_scipy(query, points):
    """Of one cloud on the CPU; the tree is built each time, as the points change each time."""
    tree = scipy_tree()
    if tree is None or query.is_cuda:
        return None
    query, points = query[0].numpy(), points[0].numpy()
    return lambda: tree(points).query(query, 3)


def ball_query_scipy(points, centers):
    """All points of each ball by index, then the first of them, filled up."""
    tree = scipy_tree()
    if tree is None or points.is_cuda:
        return None
    points, centers = points[0].numpy(), centers[0].numpy()

    def run():
        found = tree(points).query_ball_point(centers, RADIUS, return_sorted=True)
        return torch.tensor([(ball[:SAMPLES] + ball[:1] * SAMPLES)[:SAMPLES] for ball in found])
    return run


def furthest_points_torch(points, count):
    """The loop that repositories without a kernel use."""
    batch = torch.arange(len(points), device=points.device)
    nearest = torch.full(points.shape[:2], 1e10, device=points.device)
    current = torch.zeros(len(points), dtype=torch.long, device=points.device)
    chosen = []
    for _ in range(count):
        chosen.append(current)
        distance = (points - points[batch, current, None]).square().sum(-1)
        nearest = torch.minimum(nearest, distance)
        current = nearest.argmax(-1)
    return torch.stack(chosen, 1)


def interpolate_torch(features, indices, weights):
    return (features[indices] * weights[..., None]).sum(1)


def interpolate_bag(features, indices, weights):
    """The best of plain PyTorch."""
    return torch.nn.functional.embedding_bag(indices, features, mode='sum',
                                             per_sample_weights=weights)


def train(function, features, indices, weights, gradient):
    """Forward, and backward to features and weights."""
    features, weights = (t.detach().requires_grad_() for t in (features, weights))
    out = function(features, indices, weights)
    return torch.autograd.grad(out, (features, weights), gradient)


def neighbour_cases(device, scale):
    g = torch.Generator().manual_seed(0)
    n, channels, k = 30_000 * scale, 64, 128
    features = torch.randn(n, channels, generator=g).relu().to(device)
    query = features[torch.randperm(n, generator=g)[:6000].to(device)]
    yield Case('knn', f'6,000 of {n:,} x {channels} channels, k = {k}',
               lambda: knn(query, features, k),
               lambda: torch.cdist(query, features).topk(k, largest=False),
               'torch.cdist + topk', .7)
    yield Case('knn', f'6,000 of {n:,} x {channels} channels, k = {k}',
               lambda: knn(query, features, k), lambda: nearest_in_chunks(query, features, k),
               'torch.cdist + topk of 256 at a time', grows=False)
    cloud = lidar_cloud(16_384 * scale, 3, device=device)[None]
    sources = cloud[:, ::4].contiguous()
    for theirs, name, target in (
            (lambda: torch.cdist(cloud, sources).topk(3, largest=False), 'torch.cdist + topk', .35),
            (three_nn_scipy(cloud, sources), "scipy's cKDTree", None)):
        yield Case('three_nn', f'{cloud.shape[1]:,} of {sources.shape[1]:,}',
                   lambda: three_nn(cloud, sources), theirs, name, target)
    yield Case('three_nn', f'{cloud.shape[1]:,} of {sources.shape[1]:,}',
               lambda: three_nn(cloud, sources), lambda: nearest_in_chunks(cloud[0], sources[0], 3),
               'torch.cdist + topk of 256 at a time', grows=False)
    for theirs, name, target in (
            (lambda: ball_query_torch(cloud, sources), 'torch.cdist + topk', .05),
            (ball_query_scipy(cloud, sources), "scipy's cKDTree", None)):
        yield Case('ball_query', f'{sources.shape[1]:,} balls, {cloud.shape[1]:,} points',
                   lambda: ball_query(0, RADIUS, SAMPLES, cloud, sources), theirs, name, target)
    yield Case('furthest_point_sample', f'1,024 of {cloud.shape[1]:,}',
               lambda: furthest_point_sample(cloud, 1024),
               lambda: furthest_points_torch(cloud, 1024), 'eager PyTorch loop', .05)


def interpolation_cases(device, scale):
    g = torch.Generator().manual_seed(0)
    n, m, channels, k = 60_000 * scale, 15_000 * scale, 64, 8
    features = torch.randn(m, channels, generator=g).to(device)
    # Neighbouring outputs use neighbouring rows, as corners of voxels do.
    near = torch.arange(n)[:, None] * m // n
    indices = (near + torch.randint(-200, 200, (n, k), generator=g)).clamp(0, m - 1).to(device)
    weights = torch.rand(n, k, generator=g).to(device)
    gradient = torch.randn(n, channels, generator=g).to(device)
    size = f'{n:,} of {k} rows, {channels} channels'
    for theirs, name, target in ((interpolate_torch, 'gather, multiply, sum', .15),
                                 (interpolate_bag, 'embedding_bag', None)):
        yield Case('interpolate', size, lambda: interpolate(features, indices, weights),
                   lambda f=theirs: f(features, indices, weights), name, target,
                   grows=target is not None)
        yield Case('interpolate, with gradients', size,
                   lambda: train(interpolate, features, indices, weights, gradient),
                   lambda f=theirs: train(f, features, indices, weights, gradient), name, target,
                   grows=target is not None)


def cases(device, scale):
    return [*neighbour_cases(device, scale), *interpolation_cases(device, scale)]
