"""Losses that compare detectors on maps seen from above."""
from .bevdistill import BEVDistillDenseLoss, BEVDistillRelationLoss
from .sparsekd import SparseKDLoss

__all__ = [
    'BEVDistillDenseLoss', 'BEVDistillRelationLoss', 'SparseKDLoss'
]
