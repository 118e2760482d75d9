"""Losses that compare logits."""
from .defeat_roi import DeFeatRoILoss
from .dist import DISTLoss
from .kd import KDLoss

__all__ = ['DISTLoss', 'DeFeatRoILoss', 'KDLoss']
