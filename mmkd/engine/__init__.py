"""Hooks; importing this registers them."""
from .hooks import ExactResumeHook

__all__ = ['ExactResumeHook']
