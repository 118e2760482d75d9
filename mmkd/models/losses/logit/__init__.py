"""Losses that compare logits."""
from .kd import KDLoss

__all__ = ['KDLoss']
