"""The voxel index, and sum, mean and max over voxels."""
import torch

from mmkd.ops import dynamic_voxelize, scatter_points, segment_mean, unique_index, voxel_index

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


def sort_keys(keys, stable=False):
    """The best of plain PyTorch: distinct keys, each point's, the points of each, how many. Only
    a stable sort gives the points of a voxel in their order, as ours does."""
    found, order = keys.sort(stable=stable)
    unique, inverse, counts = found.unique_consecutive(return_inverse=True, return_counts=True)
    return unique, torch.empty_like(inverse).scatter_(0, order, inverse), order, counts


def key_and_sort(points):
    """The same of points: one key of each in float32, as mmcv has it."""
    low, size = (torch.tensor(v, device=points.device) for v in
                 (NUSCENES_RANGE[:3], NUSCENES_VOXEL))
    x, y, z = [round((NUSCENES_RANGE[i + 3] - NUSCENES_RANGE[i]) / NUSCENES_VOXEL[i])
               for i in range(3)]
    cell = ((points[:, :3] - low) / size).floor().long()
    inside = ((cell >= 0) & (cell < torch.tensor([x, y, z], device=points.device))).all(1)
    keys = (cell[:, 2] * y + cell[:, 1]) * x + cell[:, 0]
    return sort_keys(torch.where(inside, keys, -1))


def index_cases(points, size):
    coors = dynamic_voxelize(points, NUSCENES_VOXEL, NUSCENES_RANGE)
    keys = voxel_index(points, NUSCENES_VOXEL, NUSCENES_RANGE).keys

    def unique_rows():
        return coors.unique(dim=0, return_inverse=True, return_counts=True)

    def whole_index():
        return voxel_index(points, NUSCENES_VOXEL, NUSCENES_RANGE)
    return [
        Case('voxel coordinates', size,
             lambda: dynamic_voxelize(points, NUSCENES_VOXEL, NUSCENES_RANGE),
             mmcv_dynamic_voxelize(points), 'mmcv dynamic_voxelize', 1.0),
        Case('unique voxels, inverse, order', size, lambda: unique_index(keys),
             unique_rows, 'torch.unique(dim=0), as in mmcv', 0.01),
        Case('unique voxels, inverse, order', size, lambda: unique_index(keys),
             lambda: sort_keys(keys), 'sort of one key, unique_consecutive', 0.4),
        Case('unique voxels, inverse, order', size, lambda: unique_index(keys),
             lambda: sort_keys(keys, True), 'stable sort of one key, unique_consecutive', 0.4,
             grows=False),
        Case('voxel_index in all', size, whole_index, unique_rows, 'torch.unique(dim=0) alone',
             0.02),
        Case('voxel_index in all', size, whole_index, lambda: key_and_sort(points),
             'eager keys, sort, unique_consecutive', grows=False)]


def differentiable(function, features):
    """(forward, backward) of ``function(features)``, each to be timed alone."""
    leaf = features.detach().requires_grad_()
    with torch.enable_grad():
        out = function(leaf)
    grad = torch.randn_like(out)
    return (lambda: function(leaf),
            lambda: torch.autograd.grad(out, leaf, grad, retain_graph=True))


def mean_matrix(where, counts, m):
    """(M, N) sparse: its product with (N, C) features is the mean of each voxel."""
    order = where.argsort(stable=True)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])[:m + 1]
    order = order[:starts[-1]]
    values = (1. / counts.clamp(min=1))[where[order]].float()
    return torch.sparse_csr_tensor(starts, order, values, (m, len(where)),
                                   check_invariants=False)


def scatter_cases(points, size):
    """As inside a network: with gradients, the index made before."""
    index = voxel_index(points, NUSCENES_VOXEL, NUSCENES_RANGE)
    features = torch.randn(len(points), CHANNELS, device=points.device)
    m = len(index.unique)
    # The usual formulation has no row for the points outside: one more voxel takes them.
    where = torch.where(index.inverse < 0, m, index.inverse)
    counts = torch.bincount(where, minlength=m + 1)
    matrix, inside = mean_matrix(where, counts, m), index.order[:index.starts[-1]]
    counts = counts.clamp(min=1)[:, None]
    moved = (features.numel() + m * CHANNELS) * features.element_size()

    def mean(x):
        return x.new_zeros(m + 1, CHANNELS).index_add(0, where, x)[:m] / counts[:m]

    def product(x):
        return torch.sparse.mm(matrix, x)

    def largest(x):
        return x.new_zeros(m + 1, CHANNELS).scatter_reduce(
            0, where[:, None].expand_as(x), x, 'amax', include_self=False)[:m]

    def sorted_largest(x):
        return torch.segment_reduce(x[inside], 'max', offsets=index.starts, axis=0)
    others = {'mean': (('index_add', mean, (None, None), 1.5),
                       ('product with a sparse matrix made before', product, (None, None), None)),
              'max': (('scatter_reduce', largest, (None, 0.12), None),
                      ('gather by order, segment_reduce', sorted_largest, (None, None), None))}
    cases = []
    for reduce, usual in others.items():
        ours = differentiable(lambda x, r=reduce: scatter_points(x, index, r), features)
        for name, function, targets, memcpy_target in usual:
            theirs = differentiable(function, features)
            for which, direction in enumerate(('forward', 'backward')):
                cases.append(Case(f'{reduce} {CHANNELS} ch, {direction}', size, ours[which],
                                  theirs[which], name, targets[which], moved, memcpy_target,
                                  grows=targets[1] is not None or memcpy_target is not None))
    return cases


def prototype_cases(device, scale):
    """Few long segments: the mean feature of each class."""
    points, classes = 131_072 * scale, 19
    features = torch.randn(points, CHANNELS, device=device)
    ids = torch.randint(0, classes, (points,), device=device)
    counts = ids.bincount(minlength=classes).clamp(min=1)[:, None]

    def theirs():
        return features.new_zeros(classes, CHANNELS).index_add(0, ids, features) / counts
    return [Case(f'segment_mean, {classes} segments', f'{points:,} rows, {CHANNELS} channels',
                 lambda: segment_mean(features, ids, classes), theirs, 'index_add',
                 bytes_moved=features.numel() * features.element_size())]


def cases(device, scale):
    points = lidar_cloud(POINTS * scale, device=device)
    size = f'{len(points):,} points'
    return index_cases(points, size) + scatter_cases(points, size) + \
        prototype_cases(device, scale)
