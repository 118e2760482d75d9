"""Pictures."""
from .boxes3d import draw_sample, draw_scene
from .curves import draw_curves
from .features import draw_features
from .predictions import draw_predictions

__all__ = ['draw_curves', 'draw_features', 'draw_predictions', 'draw_sample', 'draw_scene']
