"""Losses that compare logits."""
from .dist import DISTLoss
from .kd import KDLoss

__all__ = ['DISTLoss', 'KDLoss']
