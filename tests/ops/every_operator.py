"""A call of every public operator of mmkd.ops, its sizes given: for tests of all of them.

Each is a function of tensors that make_tensors gives by the names of its parameters; floating ones
require a gradient.
"""
import inspect

import torch

import mmkd.ops as ops

VOXEL, RANGE = (1., 1., 1.), (-4., -4., -2., 4., 4., 2.)
SAMPLES, CHANNELS = 3, 5

# What mmkd.ops has beside operators.
NO_OPERATORS = {'BEVMask', 'BEVPoolIndex', 'VoxelIndex', 'check_values', 'has_kernel',
                'replace_mmcv_ops'}


def make_tensors(device='cpu', count=40):
    """``count`` points, what belongs to each of them, and others of fixed size."""
    g = torch.Generator().manual_seed(count)
    points = (torch.rand(count, 3, generator=g) - .5) * 9
    boxes = torch.cat([points, torch.rand(count, 4, generator=g) * 3], 1)
    geometry = (torch.rand(2, 2, 3, 4, 5, 3, generator=g) - .5) * 9
    index = ops.bev_pool_index(geometry, VOXEL, RANGE)
    tensors = dict(
        points=points, boxes=boxes, features=torch.randn(count, CHANNELS, generator=g),
        rows=torch.randn(SAMPLES, CHANNELS, generator=g),
        cloud=torch.randn(2, count, 3, generator=g), query=torch.randn(2, 9, 3, generator=g),
        maps=torch.randn(2, CHANNELS, count, generator=g),
        distances=torch.rand(2, count, count, generator=g),
        weights=torch.rand(2, count, 3, generator=g),
        sample=torch.arange(count) % SAMPLES, ids=torch.arange(count) % (SAMPLES + 1) - 1,
        neighbours=torch.randint(-1, count, (2, count, 3), generator=g).int(),
        lengths=torch.tensor([count, 2]),
        coors=torch.randint(-1, 4, (count, 4), generator=g).int(),
        keys=torch.randint(-1, 9, (count,), generator=g),
        geometry=geometry, depth=torch.rand(2, 2, 3, 4, 5, generator=g),
        image=torch.randn(2, 2, 4, 5, CHANNELS, generator=g),
        ranks_depth=index.ranks_depth, ranks_feat=index.ranks_feat, ranks_bev=index.ranks_bev,
        interval_starts=index.interval_starts, interval_lengths=index.interval_lengths)
    return {name: t.to(device).requires_grad_(t.is_floating_point())
            for name, t in tensors.items()}


def arguments(call, tensors):
    """Those of ``tensors`` that the parameters of ``call`` name."""
    return [tensors[name] for name in inspect.signature(call).parameters]


def index_of(points, sample):
    return ops.voxel_index(points, VOXEL, RANGE, sample, SAMPLES)


def devoxelize(points, sample, features):
    index = index_of(points, sample)
    voxels = ops.scatter_points(features, index)
    return ops.devoxelize_trilinear(voxels, points, index, sample)


def devoxelize_lists(points, features):
    index = ops.voxel_index([points, points], VOXEL, RANGE)
    voxels = ops.scatter_points(torch.cat([features, features]), index)
    return ops.devoxelize_trilinear(voxels, [points, points], index)


def gather(points, sample, features):
    index = index_of(points, sample)
    return ops.gather_voxels(ops.scatter_points(features, index, 'sum'), index)


def supervoxels(points, sample, features):
    index = index_of(points, sample)
    blocks = ops.supervoxel_index(index, (2, 2, 2), of='voxels')
    return ops.scatter_points(ops.scatter_points(features, index), blocks, 'max')


def members(points, sample, lengths):
    return ops.padded_members(index_of(points, sample), lengths.clamp(max=2), 4)


def pool_v2(depth, image, ranks_depth, ranks_feat, ranks_bev, interval_starts, interval_lengths):
    return ops.bev_pool_v2(depth, image, ranks_depth, ranks_feat, ranks_bev,
                           (2, 4, 8, 8, CHANNELS), interval_starts, interval_lengths)


def draw(boxes, ids, sample):
    return ops.draw_gaussian_heatmap(boxes[:, :2], boxes[:, 3], ids, SAMPLES, (6, 5), sample,
                                     SAMPLES)


SCATTER = ops.DynamicScatter(VOXEL, RANGE, True)
HARD, DYNAMIC = (ops.HardVoxelization(VOXEL, RANGE, most, 9) for most in (3, -1))

# By the name of the operator; after a comma, what is tried with it.
CALLS = {
    'DynamicScatter': lambda features, coors: SCATTER(features, coors),
    'HardVoxelization': lambda points: HARD(points),
    'HardVoxelization, dynamic': lambda points: DYNAMIC(points),
    'ball_query': lambda cloud, query: ops.ball_query(0, 1., 4, cloud, query),
    'bev_pool': lambda geometry, depth, image: ops.bev_pool(
        depth, image, ops.bev_pool_index(geometry, VOXEL, RANGE)),
    'bev_pool_index': lambda geometry: ops.bev_pool_index(geometry, VOXEL, RANGE, 'floor')[:4],
    'bev_pool_v2': pool_v2,
    'boxes_to_bev_mask': lambda boxes, sample, ids: ops.boxes_to_bev_mask(
        boxes, RANGE, (6, 5), sample, SAMPLES, scale=boxes[:, 3], labels=ids),
    'boxes_to_bev_mask, list': lambda boxes, ids: ops.boxes_to_bev_mask(
        [boxes, boxes], RANGE, (6, 5), labels=[ids, ids]),
    'csr_index': lambda ids: ops.csr_index(ids, SAMPLES),
    'devoxelize_trilinear': devoxelize,
    'devoxelize_trilinear, list': devoxelize_lists,
    'draw_gaussian_heatmap': draw,
    'dynamic_scatter, sum': lambda features, coors: ops.dynamic_scatter(features, coors, 'sum'),
    'dynamic_scatter, max': lambda features, coors: ops.dynamic_scatter(features, coors),
    'dynamic_voxelize': lambda points: ops.dynamic_voxelize(points, VOXEL, RANGE),
    'furthest_point_sample': lambda cloud: ops.furthest_point_sample(cloud, 6),
    'furthest_point_sample_with_dist': lambda distances: ops.furthest_point_sample_with_dist(
        distances, 6),
    'gather_voxels': gather,
    'gather_voxels, ids': lambda rows, ids: ops.gather_voxels(rows, ids),
    'gaussian_radius': lambda boxes: ops.gaussian_radius(boxes[:, 3:5]),
    'hard_voxelize': lambda points: ops.hard_voxelize(points, VOXEL, RANGE, 3, 9),
    'interpolate': lambda features, neighbours, weights: ops.interpolate(
        features, neighbours[0], weights[0]),
    'knn': lambda query, cloud, lengths: ops.knn(query, cloud, 4, lengths.clamp(max=9), lengths),
    'padded_members': members,
    'scatter_points': lambda points, sample, features: ops.scatter_points(
        features, index_of(points, sample), 'max'),
    'scatter_points, ids': lambda features, ids: ops.scatter_points(features, ids, 'mean', SAMPLES),
    'scatter_points, max of ids': lambda features, ids: ops.scatter_points(
        features, ids, 'max', SAMPLES),
    'segment_mean': lambda features, ids: ops.segment_mean(features, ids, SAMPLES, 1e-6),
    'supervoxel_index': supervoxels,
    'three_interpolate': lambda maps, neighbours, weights: ops.three_interpolate(
        maps, neighbours, weights),
    'three_nn': lambda query, cloud: ops.three_nn(query, cloud),
    'unique_index': lambda keys: ops.unique_index(keys),
    'voxel_index': lambda points, sample: index_of(points, sample)[:5],
    'voxel_index, list': lambda points: ops.voxel_index([points, points[:0]], VOXEL, RANGE).coors,
}

# Without batch_size: it is read from the batch index, or found by the graph.
UNSIZED = {
    'boxes_to_bev_mask': lambda boxes, sample: ops.boxes_to_bev_mask(boxes, RANGE, (6, 5), sample),
    'draw_gaussian_heatmap': lambda boxes, ids, sample: ops.draw_gaussian_heatmap(
        boxes[:, :2], boxes[:, 3], ids, SAMPLES, (6, 5), sample),
    'supervoxel_index': lambda points, sample, features: ops.scatter_points(
        features, ops.supervoxel_index(ops.voxel_index(points, VOXEL, RANGE, sample), (2, 2, 2))),
    'voxel_index': lambda points, sample: ops.voxel_index(points, VOXEL, RANGE, sample)[:5],
}
