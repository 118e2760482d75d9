"""Losses that compare detectors on maps seen from above."""
from .bevdistill import BEVDistillDenseLoss, BEVDistillRelationLoss
from .distillbev import DistillBEVLoss
from .pointdistiller import PointDistillerLoss, PointDistillerMapLoss
from .sparsekd import SparseKDLoss

__all__ = [
    'BEVDistillDenseLoss', 'BEVDistillRelationLoss', 'DistillBEVLoss', 'PointDistillerLoss',
    'PointDistillerMapLoss', 'SparseKDLoss'
]
