"""Losses that compare detectors on maps seen from above."""
from .bevdistill import BEVDistillDenseLoss, BEVDistillRelationLoss
from .distillbev import DistillBEVLoss
from .pointdistiller import PointDistillerLoss, PointDistillerMapLoss
from .sparsekd import SparseKDLoss
from .unidistill import UniDistillFeatureLoss, UniDistillRelationLoss, UniDistillResponseLoss

__all__ = [
    'BEVDistillDenseLoss', 'BEVDistillRelationLoss', 'DistillBEVLoss', 'PointDistillerLoss',
    'PointDistillerMapLoss', 'SparseKDLoss', 'UniDistillFeatureLoss', 'UniDistillRelationLoss',
    'UniDistillResponseLoss'
]
