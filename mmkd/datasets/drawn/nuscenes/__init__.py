"""A drawn nuScenes: drives through streets, seen by six cameras and a laser scanner."""
from .infos import write_infos
from .writing import write_nuscenes

__all__ = ['write_infos', 'write_nuscenes']
