"""Hard voxelisation of a nuScenes sweep and of ten: mmcv's op, as its detectors call it."""
from mmkd.ops.grid import make_grid
from mmkd.ops.hard_voxels import hard_voxelize, hard_voxelize_reference

from . import Case
from .clouds import NUSCENES_RANGE, NUSCENES_VOXEL, lidar_cloud

MAX_POINTS = 10


def mmcv_voxelizer(points, max_voxels):
    """mmcv's voxelisation of ``points``, or None where mmcv has no kernel for their device."""
    try:
        from mmcv.ops import Voxelization
        layer = Voxelization(list(NUSCENES_VOXEL), list(NUSCENES_RANGE), MAX_POINTS, max_voxels)
        layer(points[:16])
    except (ImportError, RuntimeError):
        return None
    return layer


def cases(device, scale):
    result = []
    grid = make_grid('benchmark', NUSCENES_VOXEL, NUSCENES_RANGE)
    grid = [list(part) for part in grid]
    for count, max_voxels, target in ((35_000, 120_000, .04), (243_000, 160_000, .07)):
        points = lidar_cloud(count * scale, device=device)
        limit = max_voxels * scale
        layer = mmcv_voxelizer(points, limit)
        voxels = hard_voxelize(points, NUSCENES_VOXEL, NUSCENES_RANGE, MAX_POINTS, limit)[0]

        def ours(points=points, limit=limit):
            return hard_voxelize(points, NUSCENES_VOXEL, NUSCENES_RANGE, MAX_POINTS, limit)

        def by_sorting(points=points, limit=limit):
            return hard_voxelize_reference(points, *grid, MAX_POINTS, limit)
        moved = points.nbytes + voxels.nbytes
        result.append(Case(
            'hard_voxelize', f'{count * scale:,} points', ours,
            layer and (lambda layer=layer, points=points: layer(points)),
            'mmcv Voxelization', target if scale == 1 else None, moved))
        result.append(Case('hard_voxelize', f'{count * scale:,} points', ours, by_sorting,
                           'PyTorch: sort, scatter', None, moved, grows=False))
    return result
