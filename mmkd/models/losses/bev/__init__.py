"""Losses that compare detectors on maps seen from above."""
from .bevdistill import BEVDistillDenseLoss, BEVDistillRelationLoss
from .bevdistill_sparse import BEVDistillSparseLoss
from .cmkd import CMKDAnchorLoss, CMKDFeatureLoss
from .cmkd_center import CMKDCenterLoss
from .crkd import CRKDAffinityLoss, CRKDFeatureLoss
from .crkd_response import CRKDResponseLoss
from .distillbev import DistillBEVLoss
from .fd3d import FD3DHeatmapLoss
from .fsd_bev import FSDBEVLoss
from .itkd import ITKDLoss
from .lidar_distillation import LiDARDistillationLoss
from .pointdistiller import PointDistillerLoss, PointDistillerMapLoss
from .radardistill import RadarDistillLoss
from .simdistill import SimDistillResponseLoss
from .sparsekd import SparseKDLoss
from .tig_bev import TiGBEVLoss
from .tig_bev_depth import TiGBEVDepthLoss
from .unidistill import UniDistillFeatureLoss, UniDistillRelationLoss, UniDistillResponseLoss

__all__ = [
    'BEVDistillDenseLoss', 'BEVDistillRelationLoss', 'BEVDistillSparseLoss', 'CMKDAnchorLoss',
    'CMKDCenterLoss', 'CMKDFeatureLoss', 'CRKDAffinityLoss', 'CRKDFeatureLoss',
    'CRKDResponseLoss', 'DistillBEVLoss', 'FD3DHeatmapLoss', 'FSDBEVLoss', 'ITKDLoss',
    'LiDARDistillationLoss', 'PointDistillerLoss', 'PointDistillerMapLoss', 'RadarDistillLoss',
    'SimDistillResponseLoss', 'SparseKDLoss', 'TiGBEVDepthLoss', 'TiGBEVLoss',
    'UniDistillFeatureLoss', 'UniDistillRelationLoss', 'UniDistillResponseLoss'
]
