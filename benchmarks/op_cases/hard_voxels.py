"""Hard voxelisation of a nuScenes sweep and of ten: mmcv's op, as its detectors call it."""
from mmkd.ops.hard_voxels import hard_voxelize

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
    for count, max_voxels, target in ((35_000, 120_000, .04), (243_000, 160_000, .07)):
        points = lidar_cloud(count * scale, device=device)
        limit = max_voxels * scale
        layer = mmcv_voxelizer(points, limit)
        voxels = hard_voxelize(points, NUSCENES_VOXEL, NUSCENES_RANGE, MAX_POINTS, limit)[0]
        result.append(Case(
            'hard_voxelize', f'{count * scale:,} points',
            lambda points=points, limit=limit: hard_voxelize(
                points, NUSCENES_VOXEL, NUSCENES_RANGE, MAX_POINTS, limit),
            layer and (lambda layer=layer, points=points: layer(points)),
            'mmcv Voxelization', target if scale == 1 else None,
            points.nbytes + voxels.nbytes))
    return result
