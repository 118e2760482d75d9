"""Distillers, connectors and losses; importing this registers them all."""
from . import connectors, losses
from .distillers import OfflineDistiller

__all__ = ['OfflineDistiller', 'connectors', 'losses']
