"""Distillers, connectors and losses; importing this registers them all."""
from . import bev, connectors, losses
from .distillers import OfflineDistiller

__all__ = ['OfflineDistiller', 'bev', 'connectors', 'losses']
