"""mmkd: knowledge distillation for dense prediction and 3D on OpenMMLab."""
from .version import __version__

__all__ = ['__version__']
