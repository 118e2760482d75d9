"""Losses that compare detectors on maps seen from above."""
from .bevdistill import BEVDistillDenseLoss, BEVDistillRelationLoss
from .distillbev import DistillBEVLoss
from .sparsekd import SparseKDLoss

__all__ = [
    'BEVDistillDenseLoss', 'BEVDistillRelationLoss', 'DistillBEVLoss', 'SparseKDLoss'
]
