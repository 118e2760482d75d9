"""Drawn data sets that exist in full wherever mmkd does."""
from .object_scenes import draw_object_scene
from .street_layouts import write_cityscapes, write_voc
from .street_scenes import draw_street_scene

__all__ = ['draw_object_scene', 'draw_street_scene', 'write_cityscapes', 'write_voc']
