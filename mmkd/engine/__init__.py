"""Hooks and optim wrappers; importing this registers them."""
from .hooks import ExactResumeHook
from .mixed_precision import Bfloat16OptimWrapper

__all__ = ['Bfloat16OptimWrapper', 'ExactResumeHook']
