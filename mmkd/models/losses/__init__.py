"""Distillation losses: one method, one file, one class."""
from .feature import ATLoss, AttnFDLoss, CWDLoss, FitNetLoss, MGDLoss, PKDLoss
from .logit import DISTLoss, KDLoss
from .relation import CIRKDMemoryLoss, CIRKDMiniBatchLoss

__all__ = [
    'ATLoss', 'AttnFDLoss', 'CIRKDMemoryLoss', 'CIRKDMiniBatchLoss', 'CWDLoss', 'DISTLoss',
    'FitNetLoss', 'KDLoss', 'MGDLoss', 'PKDLoss'
]
