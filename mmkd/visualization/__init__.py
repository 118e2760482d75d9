"""Pictures."""
from .curves import draw_curves
from .predictions import draw_predictions

__all__ = ['draw_curves', 'draw_predictions']
