"""Run an exported detector of pillars with onnxruntime and numpy alone: its maps for a scan.

    python run_onnx_pillars.py work_dirs/deploy/my_student scan.bin maps.npz

SCAN is a file of nuScenes (x, y, z, intensity, ring in float32); the numbers of GRID are those of
data_preprocessor.voxel_layer in the student's config.
"""
import sys

import numpy as np
import onnxruntime

GRID = dict(point_cloud_range=[-51.2, -51.2, -5., 51.2, 51.2, 3.], voxel_size=[.2, .2, 8.],
            max_num_points=20, max_voxels=40000)


def pillars(points, point_cloud_range, voxel_size, max_num_points, max_voxels):
    """The graph's inputs of points (N, C), whose first three numbers are x, y, z in metres."""
    low, high = np.float32(point_cloud_range).reshape(2, 3)
    size = np.float32(voxel_size)
    grid = np.round((high - low) / size).astype(int)
    cell = np.floor((points[:, :3] - low) / size).astype(int)
    inside = ((cell >= 0) & (cell < grid)).all(1)
    points, cell = points[inside], cell[inside]
    keys = np.ravel_multi_index(cell.T, grid)
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    pillar = np.argsort(np.argsort(first))[number]  # numbered as they appear
    order = np.argsort(pillar, kind='stable')
    counts = np.bincount(pillar, minlength=len(first))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = (rank < max_num_points) & (pillar[order] < max_voxels)
    pillar, rank, chosen = pillar[order][kept], rank[kept], order[kept]
    counts = counts[:max_voxels].clip(max=max_num_points).astype(np.int32)
    voxels = np.zeros((len(counts), max_num_points, points.shape[1]), np.float32)
    voxels[pillar, rank] = points[chosen]
    coors = np.zeros((len(counts), 4), np.int32)  # sample, z, y, x
    coors[pillar, 1:] = cell[chosen][:, ::-1]
    return dict(voxels=voxels, num_points=counts, coors=coors)


def main(folder, scan, out):
    session = onnxruntime.InferenceSession(f'{folder}/end2end.onnx')
    points = np.fromfile(scan, np.float32).reshape(-1, 5)
    names = [output.name for output in session.get_outputs()]
    np.savez(out, **dict(zip(names, session.run(None, pillars(points, **GRID)), strict=True)))


if __name__ == '__main__':
    main(*sys.argv[1:])
