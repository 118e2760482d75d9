"""Scenes of things: one to four labelled as in Pascal VOC, or many, told apart one by one."""
from .instances import Instance, draw_instances
from .scenes import draw_object_scene

__all__ = ['Instance', 'draw_instances', 'draw_object_scene']
