"""Camera detectors in bird's eye view.

``BEVDet`` and ``BEVDet4D`` need mmdet3d and are imported by ``mmkd.registry`` when they are asked
for; the rest needs torch and mmengine.
"""
from .depth import DepthNet
from .neck import FinestFPN
from .view_transformer import LSSViewTransformer

__all__ = ['DepthNet', 'FinestFPN', 'LSSViewTransformer']
