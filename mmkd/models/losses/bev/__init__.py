"""Losses that compare detectors on maps seen from above."""
from .bevdistill import BEVDistillDenseLoss, BEVDistillRelationLoss

__all__ = [
    'BEVDistillDenseLoss', 'BEVDistillRelationLoss'
]
