"""mmcv's point operators where mmcv itself has no kernel: on CPU tensors above all."""
import functools
import importlib.util
import sys

import torch

from . import dynamic, hard_voxels, interpolation, neighbours, point_sampling
from .checks import INDEX, accumulated, check_ranges, check_tensor
from .library import has_kernel
from .scatter import gather_voxels
from .voxels import dynamic_voxelize


def voxelization(points, voxel_size, coors_range, max_points=35, max_voxels=20000,
                 deterministic=True):
    """Hard or dynamic voxelisation; what need not be deterministic is, too."""
    if -1 in (max_points, max_voxels):
        return dynamic_voxelize(points, voxel_size, coors_range)
    return hard_voxels.hard_voxelize(points, voxel_size, coors_range, max_points, max_voxels)


def knn(k, xyz, center_xyz=None, transposed=False):
    """(B, k, Q) int32 neighbours of each center among ``xyz``; 0 where there are too few."""
    center_xyz = xyz if center_xyz is None else center_xyz
    if transposed:
        xyz, center_xyz = xyz.transpose(1, 2), center_xyz.transpose(1, 2)
    indices, _ = neighbours.knn(center_xyz, xyz, k)
    return indices.clamp(min=0).int().transpose(1, 2).contiguous()


def three_nn(target, source):
    """As ours, but in the dtype of ``target``, and 0 where there are too few points."""
    distances, indices = neighbours.three_nn(target, source)
    return distances.to(target.dtype), indices.clamp(min=0) if source.shape[1] else indices


def _gather(op, features, indices):
    check_ranges(op, ('indices', indices, 0, features.shape[2]))
    where = indices.long()[:, None].expand(-1, features.shape[1], -1)
    return accumulated(features).gather(2, where).to(features.dtype)


def gather_points(features, indices):
    """(B, C, N) features at (B, M) indices: (B, C, M). Gradients are summed in float32."""
    return _gather('gather_points', features, indices)


def _sizes(op, name, counts, rows):
    """Rows of each sample of a stack, read from its counts."""
    check_tensor(op, name, counts, ('B',), INDEX)
    sizes = counts.tolist()
    if any(size < 0 for size in sizes) or sum(sizes) != rows:
        raise ValueError(f'{op}: {name} must add up to the {rows} rows that are stacked, but '
                         f'holds {sizes}')
    return sizes


def _check_samples(op, first, second):
    if len(first[1]) != len(second[1]):
        raise ValueError(f'{op}: {first[0]} is of {len(first[1])} samples, {second[0]} of '
                         f'{len(second[1])}')


def ball_query(min_radius, max_radius, sample_num, xyz, center_xyz, xyz_batch_cnt=None,
               center_xyz_batch_cnt=None):
    """As ours. With both counts, samples are stacked, (N1 + N2 ..., 3), indices count within a
    sample, ``min_radius`` is not looked at, and a ball without a point begins with -1."""
    if xyz_batch_cnt is None or center_xyz_batch_cnt is None:
        return neighbours.ball_query(min_radius, max_radius, sample_num, xyz, center_xyz)
    op = 'ball_query'
    check_tensor(op, 'xyz', xyz, ('N', 3))
    check_tensor(op, 'center_xyz', center_xyz, ('M', 3))
    sizes = _sizes(op, 'xyz_batch_cnt', xyz_batch_cnt, len(xyz))
    center_sizes = _sizes(op, 'center_xyz_batch_cnt', center_xyz_batch_cnt, len(center_xyz))
    _check_samples(op, ('xyz_batch_cnt', sizes), ('center_xyz_batch_cnt', center_sizes))
    # A point that is in no ball, before all others: its index is found where there is none.
    nobody = xyz.new_full((1, 3), torch.nan)
    found = [neighbours.ball_query(0, max_radius, sample_num, torch.cat([nobody, points])[None],
                                   centers[None])[0] - 1
             for points, centers in zip(xyz.split(sizes), center_xyz.split(center_sizes),
                                        strict=True)]
    out = torch.cat([center_xyz.new_empty(0, sample_num, dtype=torch.int32), *found])
    out[:, 1:].clamp_(min=0)
    return out


def grouping_operation(features, indices, features_batch_cnt=None, indices_batch_cnt=None):
    """(B, C, N) features at (B, Q, S) indices: (B, C, Q, S). With both counts samples are
    stacked: (N1 + N2 ..., C) at (M1 + M2 ..., S): (M, C, S), zero where the sample has no such
    row. Gradients are summed in float32."""
    op = 'grouping_operation'
    if features_batch_cnt is None or indices_batch_cnt is None:
        return _gather(op, features, indices.flatten(1)).unflatten(2, indices.shape[1:])
    check_tensor(op, 'features', features, ('N', 'C'))
    check_tensor(op, 'indices', indices, ('M', 'S'), INDEX)
    sizes = _sizes(op, 'features_batch_cnt', features_batch_cnt, len(features))
    query_sizes = _sizes(op, 'indices_batch_cnt', indices_batch_cnt, len(indices))
    _check_samples(op, ('features_batch_cnt', sizes), ('indices_batch_cnt', query_sizes))
    rows, start = [], 0
    for size, part in zip(sizes, indices.long().split(query_sizes), strict=True):
        rows.append(torch.where((part >= 0) & (part < size), part + start, -1))
        start += size
    rows = torch.cat(rows) if rows else indices.long()
    grouped = gather_voxels(features, rows.flatten()).unflatten(0, rows.shape)
    return grouped.transpose(1, 2).contiguous()


def dynamic_scatter_3d(features, coors, reduce='max', return_map=False):
    """mmdet3d's variant: with ``return_map`` also the voxel of each point, -1 for none, int32."""
    features, voxel_coors, inverse = dynamic.reduce_by_coors(features, coors, reduce)
    return (features, voxel_coors, inverse.int()) if return_map else (features, voxel_coors)


class DynamicScatter(dynamic.DynamicScatter):
    """Ours where it runs, mmcv's on all other devices: decided in each call."""

    def forward(self, points, coors):
        if runs_on(points.device):
            return super().forward(points, coors)
        ops = importlib.import_module('mmcv.ops')
        original = _originals.get((ops.__name__, 'DynamicScatter'), (ops.DynamicScatter,))[0]
        return original(self.voxel_size, self.point_cloud_range, self.average_points)(
            points, coors)


# By the module that has it: what mmcv calls it, and what takes its place. The arguments are those
# of mmcv. A class replaces mmcv's class as it is.
STAND_INS = {
    'mmcv.ops': {
        'DynamicScatter': DynamicScatter,
        'ball_query': ball_query,
        'dynamic_scatter': dynamic.dynamic_scatter,
        'furthest_point_sample': point_sampling.furthest_point_sample,
        'furthest_point_sample_with_dist': point_sampling.furthest_point_sample_with_dist,
        'gather_points': gather_points,
        'grouping_operation': grouping_operation,
        'knn': knn,
        'three_interpolate': interpolation.three_interpolate,
        'three_nn': three_nn,
        'voxelization': voxelization,
    },
    # mmdet3d has copies of two, which its segmentors use.
    'mmdet3d.models.data_preprocessors.voxelize': {
        'dynamic_scatter_3d': dynamic_scatter_3d,
        'voxelization': voxelization,
    },
}
# These have no kernel of their own, and the stacked ball query loops over the samples.
CPU_ONLY = ('gather_points', 'grouping_operation')

_originals = {}  # (module, name): (mmcv's own, ours), while they are replaced
_users = 0


def runs_on(device):
    """Whether ours take the place of mmcv's there: on the CPU, where mmcv has none, and on a GPU
    for which they are compiled."""
    return device.type == 'cpu' or (device.type == 'cuda' and has_kernel('unique_index', 'cuda'))


def _by_device(name, original, stand_in):
    """Ours for tensors where it runs, mmcv's own for all else."""
    if isinstance(stand_in, type):
        return stand_in

    @functools.wraps(stand_in)
    def call(*args):
        first = next((a for a in args if isinstance(a, torch.Tensor)), None)
        if first is None or not runs_on(first.device):
            return original(*args)
        on_cpu = name in CPU_ONLY or (name == 'ball_query' and len(args) > 5)
        if on_cpu and first.device.type != 'cpu':
            return original(*args)
        return stand_in(*args)

    return call


def _swap(pairs):
    """Put new objects in the place of old ones wherever a loaded module holds one."""
    new_of = {id(old): new for old, new in pairs}
    for module in list(sys.modules.values()):
        if getattr(module, '__name__', None) == __name__ or not hasattr(module, '__dict__'):
            continue
        for attribute, value in list(vars(module).items()):
            if id(value) in new_of:
                setattr(module, attribute, new_of[id(value)])


class Replacement:
    """Ends what :func:`replace_mmcv_ops` began: call it, or leave the ``with`` block."""

    def __init__(self):
        self._active = True

    def __call__(self):
        global _users
        if not self._active:
            return
        self._active = False
        _users -= 1
        if _users == 0:
            _swap((ours, own) for own, ours in _originals.values())
            _originals.clear()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self()


def replace_mmcv_ops():
    """Make mmcv's point operators work for CPU tensors, wherever they have been imported.

    ``mmcv.ops`` 2.1 has CUDA kernels alone for dynamic scatter, non-deterministic voxelisation, k
    nearest neighbours, ball query, furthest point sampling, three_nn and three_interpolate,
    gathering and grouping. Afterwards CPU tensors go to ``mmkd.ops``: in ``mmcv.ops``, and in
    every module that imported one of them by name (mmdet3d's layers). CUDA tensors go there
    where mmkd's CUDA kernels are compiled, and else to mmcv as before; gathering, grouping and
    stacked clouds on a GPU are always mmcv's. Modules imported later get them too. May be called
    again while in force; the last undo restores mmcv's own.

    Returns:
        Replacement: call it to undo, or use it in a ``with`` statement.

    Raises:
        ImportError: no mmcv with operators is installed.
    """
    global _users
    importlib.import_module('mmcv.ops')
    if _users == 0:
        for module, stand_ins in STAND_INS.items():
            if importlib.util.find_spec(module.split('.')[0]) is None:
                continue
            for name, stand_in in stand_ins.items():
                original = getattr(importlib.import_module(module), name)
                _originals[module, name] = original, _by_device(name, original, stand_in)
        _swap(_originals.values())
    _users += 1
    return Replacement()
