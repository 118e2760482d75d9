"""Point, voxel and BEV operators. Needs torch alone; see docs/ops.md."""
from . import library
from .bev_index import BEVPoolIndex, bev_pool_index
from .bev_masks import BEVMask, boxes_to_bev_mask
from .bev_pooling import bev_pool, bev_pool_v2
from .checks import check_values
from .devoxelize import devoxelize_trilinear
from .dynamic import DynamicScatter, dynamic_scatter
from .hard_voxels import HardVoxelization, hard_voxelize
from .heatmaps import draw_gaussian_heatmap, gaussian_radius
from .interpolation import interpolate, three_interpolate
from .library import has_kernel
from .mmcv_stand_ins import replace_mmcv_ops
from .neighbours import ball_query, knn, three_nn
from .point_sampling import furthest_point_sample, furthest_point_sample_with_dist
from .scatter import gather_voxels, scatter_points, segment_mean
from .segments import csr_index, unique_index
from .supervoxels import padded_members, supervoxel_index
from .voxels import VoxelIndex, dynamic_voxelize, voxel_index

library.load()

__all__ = [
    'BEVMask', 'BEVPoolIndex', 'DynamicScatter', 'HardVoxelization', 'VoxelIndex', 'ball_query',
    'bev_pool', 'bev_pool_index', 'bev_pool_v2', 'boxes_to_bev_mask', 'check_values', 'csr_index',
    'devoxelize_trilinear', 'draw_gaussian_heatmap', 'dynamic_scatter', 'dynamic_voxelize',
    'furthest_point_sample', 'furthest_point_sample_with_dist', 'gather_voxels',
    'gaussian_radius', 'hard_voxelize', 'has_kernel', 'interpolate', 'knn', 'padded_members',
    'replace_mmcv_ops', 'scatter_points', 'segment_mean', 'supervoxel_index',
    'three_interpolate', 'three_nn', 'unique_index', 'voxel_index',
]
