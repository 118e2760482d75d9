"""Street scenes, labelled as in Cityscapes."""
from .scenes import draw_street_scene

__all__ = ['draw_street_scene']
