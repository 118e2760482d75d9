"""Distillation losses: one method, one file, one class."""
from .feature import (
    ATLoss,
    AttnFDLoss,
    CWDLoss,
    DeFeatLoss,
    FGFILoss,
    FitNetLoss,
    MGDLoss,
    PGDClsLoss,
    PGDRegLoss,
    PKDLoss,
)
from .logit import DeFeatRoILoss, DISTLoss, KDLoss
from .relation import CIRKDMemoryLoss, CIRKDMiniBatchLoss

__all__ = [
    'ATLoss', 'AttnFDLoss', 'CIRKDMemoryLoss', 'CIRKDMiniBatchLoss', 'CWDLoss', 'DISTLoss',
    'DeFeatLoss', 'DeFeatRoILoss', 'FGFILoss', 'FitNetLoss', 'KDLoss', 'MGDLoss', 'PGDClsLoss',
    'PGDRegLoss', 'PKDLoss'
]
