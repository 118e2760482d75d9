"""Transforms of pipelines for cameras and LiDAR together.

Order in a pipeline: :class:`LoadCameraImages` (and ``LoadPreviousFrame``), mmdet3d's loading of
points and boxes, :class:`MultiViewImageAug`, :class:`BEVAug`, :class:`PointsToDepthMaps`, mmdet3d's
range and name filters, ``PackBEVInputs``. Those that load and pack need mmdet3d and are imported by
``mmkd.registry`` when they are asked for.
"""
from .bev_aug import BEVAug
from .depth_maps import PointsToDepthMaps
from .multiview import MultiViewImageAug

__all__ = ['BEVAug', 'MultiViewImageAug', 'PointsToDepthMaps']
