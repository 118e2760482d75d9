"""Scenes of one to four things, labelled as in Pascal VOC."""
from .scenes import draw_object_scene

__all__ = ['draw_object_scene']
