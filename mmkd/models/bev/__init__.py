"""Detectors of cameras, and of cameras with a LiDAR, in bird's eye view.

``BEVDet``, ``BEVDet4D`` and ``BEVFusion`` need mmdet3d and are imported by ``mmkd.registry`` when
they are asked for; the rest needs torch and mmengine.
"""
from .depth import DepthNet
from .neck import FinestFPN
from .view_transformer import LSSViewTransformer

__all__ = ['DepthNet', 'FinestFPN', 'LSSViewTransformer']
