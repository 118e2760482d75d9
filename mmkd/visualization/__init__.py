"""Pictures."""
from .boxes3d import draw_sample, draw_scene
from .curves import draw_curves
from .predictions import draw_predictions

__all__ = ['draw_curves', 'draw_predictions', 'draw_sample', 'draw_scene']
