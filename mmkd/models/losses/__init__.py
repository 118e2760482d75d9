"""Distillation losses: one method, one file, one class."""
from .feature import (
    ATLoss,
    AttnFDLoss,
    CWDLoss,
    DeFeatLoss,
    FGDLoss,
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
    'ATLoss', 'AttnFDLoss', 'CIRKDMemoryLoss', 'CIRKDMiniBatchLoss', 'CWDLoss', 'DeFeatLoss',
    'DeFeatRoILoss', 'DISTLoss', 'FGDLoss', 'FGFILoss', 'FitNetLoss', 'KDLoss', 'MGDLoss',
    'PGDClsLoss', 'PGDRegLoss', 'PKDLoss'
]
