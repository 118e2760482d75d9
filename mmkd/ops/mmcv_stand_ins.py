"""mmcv's point operators for CPU tensors, for which mmcv itself has none."""
import functools
import importlib.util
import sys

import torch

from . import dynamic, interpolation, neighbours, point_sampling


def knn(k, xyz, center_xyz=None, transposed=False):
    """(B, k, Q) int32 neighbours of each center among ``xyz``; 0 where there are too few."""
    center_xyz = xyz if center_xyz is None else center_xyz
    if transposed:
        xyz, center_xyz = xyz.transpose(1, 2), center_xyz.transpose(1, 2)
    indices, _ = neighbours.knn(center_xyz, xyz, k)
    return indices.clamp(min=0).int().transpose(1, 2).contiguous()


def three_nn(target, source):
    """As ours, but 0 where there are too few points and one exists."""
    distances, indices = neighbours.three_nn(target, source)
    return distances, indices.clamp(min=0) if source.shape[1] else indices


def gather_points(features, indices):
    """(B, C, N) features at (B, M) indices: (B, C, M)."""
    return features.gather(2, indices.long()[:, None].expand(-1, features.shape[1], -1))


def grouping_operation(features, indices):
    """(B, C, N) features at (B, Q, S) indices: (B, C, Q, S)."""
    return gather_points(features, indices.flatten(1)).unflatten(2, indices.shape[1:])


def dynamic_scatter_3d(features, coors, reduce='max'):
    """mmdet3d's variant of dynamic_scatter: also the voxel of each point, -1 for none, int32."""
    features, voxel_coors, inverse = dynamic.reduce_by_coors(features, coors, reduce)
    return features, voxel_coors, inverse.int()


# What mmcv.ops calls it: what CPU tensors get. The arguments are those of mmcv; with others
# (the stacked variants) mmcv is called. A class replaces mmcv's class as it is.
STAND_INS = {
    'DynamicScatter': dynamic.DynamicScatter,
    'ball_query': neighbours.ball_query,
    'dynamic_scatter': dynamic.dynamic_scatter,
    'furthest_point_sample': point_sampling.furthest_point_sample,
    'furthest_point_sample_with_dist': point_sampling.furthest_point_sample_with_dist,
    'gather_points': gather_points,
    'grouping_operation': grouping_operation,
    'knn': knn,
    'three_interpolate': interpolation.three_interpolate,
    'three_nn': three_nn,
}
# mmdet3d has a copy of one, which its segmentors use.
MMDET3D = 'mmdet3d.models.data_preprocessors.voxelize'
MMDET3D_STAND_INS = {'dynamic_scatter_3d': dynamic_scatter_3d}
# Arguments of mmcv's stacked variants, by position.
_STACKED = {'ball_query': 5, 'grouping_operation': 2}

_originals = {}  # name: (mmcv's own, ours), while they are replaced
_users = 0


def _for_cpu(name, original, stand_in):
    """Ours for CPU tensors, mmcv's own for all else."""
    if isinstance(stand_in, type):
        return stand_in
    most = _STACKED.get(name)

    @functools.wraps(stand_in)
    def call(*args):
        first = next((a for a in args if isinstance(a, torch.Tensor)), None)
        if first is None or first.device.type != 'cpu':
            return original(*args)
        if most is not None:
            if any(a is not None for a in args[most:]):
                return original(*args)
            args = args[:most]
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

    ``mmcv.ops`` 2.1 has CUDA kernels alone for dynamic scatter, k nearest neighbours, ball
    query, furthest point sampling, three_nn and three_interpolate, gathering and grouping.
    Afterwards CPU tensors go to ``mmkd.ops`` and all others to mmcv as before: in
    ``mmcv.ops``, and in every module that imported one of them by name (mmdet3d's layers).
    ``DynamicScatter`` is ours on every device, in models built from then on. Modules imported
    later get them too. May be called again while in force; the last undo restores mmcv's own.

    Returns:
        Replacement: call it to undo, or use it in a ``with`` statement.

    Raises:
        ImportError: no mmcv with operators is installed.
    """
    global _users
    ops = importlib.import_module('mmcv.ops')
    if _users == 0:
        tables = [(ops, STAND_INS)]
        if importlib.util.find_spec('mmdet3d') is not None:
            tables.append((importlib.import_module(MMDET3D), MMDET3D_STAND_INS))
        for module, stand_ins in tables:
            for name, stand_in in stand_ins.items():
                original = getattr(module, name)
                _originals[name] = original, _for_cpu(name, original, stand_in)
        _swap(_originals.values())
    _users += 1
    return Replacement()
