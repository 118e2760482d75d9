"""Losses that compare relations between pixels."""
from .cirkd_memory import CIRKDMemoryLoss
from .cirkd_minibatch import CIRKDMiniBatchLoss

__all__ = ['CIRKDMemoryLoss', 'CIRKDMiniBatchLoss']
