from .offline import OfflineDistiller

__all__ = ['OfflineDistiller']
