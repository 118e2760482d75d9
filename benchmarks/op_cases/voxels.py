"""The voxel index, and sum, mean and max over voxels."""
import torch

from mmkd.ops import dynamic_voxelize, scatter_points, unique_index, voxel_index

from . import Case
from .clouds import NUSCENES_RANGE, NUSCENES_VOXEL, lidar_cloud

POINTS, CHANNELS = 243_000, 64


def mmcv_dynamic_voxelize(points):
    """mmcv's coordinates of each point, or None where mmcv is not installed."""
    try:
        from mmcv.ops import Voxelization
    except ImportError:
        return None
    layer = Voxelization(list(NUSCENES_VOXEL), list(NUSCENES_RANGE), -1)
    return lambda: layer(points)


def index_cases(points, size):
    coors = dynamic_voxelize(points, NUSCENES_VOXEL, NUSCENES_RANGE)
    keys = voxel_index(points, NUSCENES_VOXEL, NUSCENES_RANGE).keys
    return [
        Case('voxel coordinates', size,
             lambda: dynamic_voxelize(points, NUSCENES_VOXEL, NUSCENES_RANGE),
             mmcv_dynamic_voxelize(points), 'mmcv dynamic_voxelize', 1.0),
        Case('unique voxels, inverse, order', size, lambda: unique_index(keys),
             lambda: coors.unique(dim=0, return_inverse=True, return_counts=True),
             'torch.unique(dim=0), as in mmcv', 0.01),
        Case('voxel_index in all', size,
             lambda: voxel_index(points, NUSCENES_VOXEL, NUSCENES_RANGE),
             lambda: coors.unique(dim=0, return_inverse=True, return_counts=True),
             'torch.unique(dim=0) alone', 0.02)]


def differentiable(function, features):
    """(forward, backward) of ``function(features)``, each to be timed alone."""
    leaf = features.detach().requires_grad_()
    with torch.enable_grad():
        out = function(leaf)
    grad = torch.randn_like(out)
    return (lambda: function(leaf),
            lambda: torch.autograd.grad(out, leaf, grad, retain_graph=True))


def scatter_cases(points, size):
    """As inside a network: with gradients, the index made before."""
    index = voxel_index(points, NUSCENES_VOXEL, NUSCENES_RANGE)
    features = torch.randn(len(points), CHANNELS, device=points.device)
    m = len(index.unique)
    # The usual formulation has no row for the points outside: one more voxel takes them.
    where = torch.where(index.inverse < 0, m, index.inverse)
    counts = torch.bincount(where, minlength=m + 1).clamp(min=1)[:, None]
    moved = (features.numel() + m * CHANNELS) * features.element_size()

    def mean(x):
        return x.new_zeros(m + 1, CHANNELS).index_add(0, where, x)[:m] / counts[:m]

    def largest(x):
        return x.new_zeros(m + 1, CHANNELS).scatter_reduce(
            0, where[:, None].expand_as(x), x, 'amax', include_self=False)[:m]
    cases = []
    for reduce, theirs, name, targets in (('mean', mean, 'index_add', (None, None)),
                                          ('max', largest, 'scatter_reduce', (None, 0.12))):
        ours = differentiable(lambda x, r=reduce: scatter_points(x, index, r), features)
        usual = differentiable(theirs, features)
        for which, direction in enumerate(('forward', 'backward')):
            cases.append(Case(f'{reduce} {CHANNELS} ch, {direction}', size, ours[which],
                              usual[which], name, targets[which], moved,
                              1.5 if reduce == 'mean' else None))
    return cases


def cases(device, scale):
    points = lidar_cloud(POINTS * scale, device=device)
    size = f'{len(points):,} points'
    return index_cases(points, size) + scatter_cases(points, size)
