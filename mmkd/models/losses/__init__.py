"""Distillation losses: one method, one file, one class."""
from .bev import (
    BEVDistillDenseLoss,
    BEVDistillRelationLoss,
    BEVDistillSparseLoss,
    CMKDAnchorLoss,
    CMKDCenterLoss,
    CMKDFeatureLoss,
    CRKDAffinityLoss,
    CRKDFeatureLoss,
    CRKDResponseLoss,
    DistillBEVLoss,
    FD3DHeatmapLoss,
    FSDBEVLoss,
    ITKDLoss,
    LiDARDistillationLoss,
    PointDistillerLoss,
    PointDistillerMapLoss,
    RadarDistillLoss,
    SimDistillResponseLoss,
    SparseKDLoss,
    TiGBEVDepthLoss,
    TiGBEVLoss,
    UniDistillFeatureLoss,
    UniDistillRelationLoss,
    UniDistillResponseLoss,
)
from .box import BCKDLoss, CrossKDLoss, LDLoss
from .feature import (
    ATLoss,
    AttnFDLoss,
    CWDLoss,
    DeFeatLoss,
    FBKDLoss,
    FGDLoss,
    FGFILoss,
    FitNetLoss,
    FRSLoss,
    MGDLoss,
    MonoDistillLoss,
    PGDClsLoss,
    PGDRegLoss,
    PKDLoss,
)
from .logit import DeFeatRoILoss, DISTLoss, KDLoss
from .relation import CIRKDMemoryLoss, CIRKDMiniBatchLoss

__all__ = [
    'ATLoss', 'AttnFDLoss', 'BCKDLoss', 'BEVDistillDenseLoss', 'BEVDistillRelationLoss',
    'BEVDistillSparseLoss', 'CIRKDMemoryLoss', 'CIRKDMiniBatchLoss', 'CMKDAnchorLoss',
    'CMKDCenterLoss', 'CMKDFeatureLoss', 'CRKDAffinityLoss', 'CRKDFeatureLoss',
    'CRKDResponseLoss', 'CrossKDLoss', 'CWDLoss', 'DeFeatLoss', 'DeFeatRoILoss',
    'DistillBEVLoss', 'DISTLoss', 'FBKDLoss', 'FD3DHeatmapLoss', 'FGDLoss', 'FGFILoss',
    'FitNetLoss', 'FRSLoss', 'FSDBEVLoss', 'ITKDLoss', 'KDLoss', 'LDLoss',
    'LiDARDistillationLoss', 'MGDLoss', 'MonoDistillLoss', 'PGDClsLoss', 'PGDRegLoss',
    'PKDLoss', 'PointDistillerLoss', 'PointDistillerMapLoss', 'RadarDistillLoss',
    'SimDistillResponseLoss', 'SparseKDLoss', 'TiGBEVDepthLoss', 'TiGBEVLoss',
    'UniDistillFeatureLoss', 'UniDistillRelationLoss', 'UniDistillResponseLoss'
]
