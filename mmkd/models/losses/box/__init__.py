"""Losses that compare what dense detectors predict: boxes, their distributions, class scores."""
from .bckd import BCKDLoss
from .crosskd import CrossKDLoss
from .ld import LDLoss

__all__ = ['BCKDLoss', 'CrossKDLoss', 'LDLoss']
