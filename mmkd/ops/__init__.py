"""Point, voxel and BEV operators. Needs torch alone; see docs/ops.md."""
from . import library
from .devoxelize import devoxelize_trilinear
from .library import has_kernel
from .scatter import DynamicScatter, dynamic_scatter, gather_voxels, scatter_points, segment_mean
from .segments import csr_index, unique_index
from .supervoxels import padded_members, supervoxel_index
from .voxels import VoxelIndex, dynamic_voxelize, voxel_index

library.load()

__all__ = ['DynamicScatter', 'VoxelIndex', 'csr_index', 'devoxelize_trilinear',
           'dynamic_scatter', 'dynamic_voxelize', 'gather_voxels', 'has_kernel',
           'padded_members', 'scatter_points', 'segment_mean', 'supervoxel_index',
           'unique_index', 'voxel_index']
