"""Drawn data sets: one folder per world, a brush they share, and the layouts they are written in.

``canvas`` keeps a picture and its labels in step, ``camera`` is what happens to a scene before it
becomes a file, and ``layouts``, ``coco`` and ``nuscenes`` write the trees that OpenMMLab's own data
sets read; ``trees`` keeps other people's files safe from them.
"""
from .coco import write_coco
from .layouts import write_cityscapes, write_voc
from .nuscenes import write_nuscenes
from .objects import draw_instances, draw_object_scene
from .streets import draw_street_scene

__all__ = ['draw_instances', 'draw_object_scene', 'draw_street_scene', 'write_cityscapes',
           'write_coco', 'write_nuscenes', 'write_voc']
