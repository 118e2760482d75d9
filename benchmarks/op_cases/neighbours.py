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
    cloud = lidar_cloud(16_384 * scale, 3, device=device)[None]
    sources = cloud[:, ::4].contiguous()
    yield Case('three_nn', f'{cloud.shape[1]:,} of {sources.shape[1]:,}',
               lambda: three_nn(cloud, sources),
               lambda: torch.cdist(cloud, sources).topk(3, largest=False),
               'torch.cdist + topk', .35)
    yield Case('ball_query', f'{sources.shape[1]:,} balls, {cloud.shape[1]:,} points',
               lambda: ball_query(0, RADIUS, SAMPLES, cloud, sources),
               lambda: ball_query_torch(cloud, sources), 'torch.cdist + topk', .05)
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
    yield Case('interpolate', size, lambda: interpolate(features, indices, weights),
               lambda: interpolate_torch(features, indices, weights), 'gather, multiply, sum', .15)
    yield Case('interpolate, with gradients', size,
               lambda: train(interpolate, features, indices, weights, gradient),
               lambda: train(interpolate_torch, features, indices, weights, gradient),
               'gather, multiply, sum', .15)


def cases(device, scale):
    return [*neighbour_cases(device, scale), *interpolation_cases(device, scale)]
