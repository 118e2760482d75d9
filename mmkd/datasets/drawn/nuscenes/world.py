"""Everything in one scene and where it is at any time: the sum of its things' faces as arrays."""
from dataclasses import dataclass

import numpy as np

from .solids import moved

#: how far outside of its surface a thing's box is, in metres: a laser's noise pushes points out
MARGIN = 0.05


@dataclass
class Thing:
    """Something with a shape, a path along the road and, if it is annotated, a class.

    Attributes:
        name (str): detection class of nuScenes, None for what is not annotated.
        solids (list of Solid): the shape.
        path (dict): the columns of ``World.paths``.
        rider (bool): whether a cycle has one.
    """

    name: str
    solids: list
    path: dict
    rider: bool = False

    def __post_init__(self):
        corners = np.concatenate([solid.corners for solid in self.solids])
        low, high = corners.min(0), corners.max(0)
        center = (low + high) / 2
        for solid in self.solids:  # the origin is on the ground below the middle
            moved(solid, np.array([-center[0], -center[1], 0.]))
        length, width, height = high - low + 2 * MARGIN
        self.size = np.array([width, length, height])  # as nuScenes orders it
        self.middle = center[2]


class Faces:
    """The faces of things around a point at one moment, in metres from that point.

    Attributes:
        normals, offsets, axes: as of ``Solid``, in the world's axes.
        starts (list of int): first face of each solid, and the end of the last.
        corners: (S, K, 3) of the solids; those with fewer corners repeat one.
        things: (S,) index of the thing that each solid is part of.
        fixed (dict): ``colors``, ``patterns``, ``repeats``, ``reflectance``, ``owner`` by face.
    """

    def __init__(self, **arrays):
        self.__dict__.update(arrays)

    def seen_from(self, point):
        """The same faces in metres from another point (3,)."""
        axes = self.axes.copy()
        axes[..., 3] += axes[..., :3] @ point
        return Faces(**dict(self.__dict__, offsets=self.offsets - self.normals @ point,
                            corners=self.corners - point, axes=axes))


class World:
    """A road, the things on it and beside it, the car that drives through, and the sun.

    Args:
        road (Road): what ``place`` of paths is measured along.
        things (list of Thing): all of them.
        ego (dict): the path of the car with the sensors.
        sun: (3,) unit vector towards the sun.
    """

    def __init__(self, road, things, ego, sun):
        self.road, self.things, self.ego, self.sun = road, things, ego, sun
        names = things[0].path.keys()
        self.paths = {name: np.array([thing.path[name] for thing in things], float)
                      for name in names}
        solids = [solid for thing in things for solid in thing.solids]
        self.solid_things = np.repeat(np.arange(len(things)), [len(t.solids) for t in things])
        self.face_counts = np.array([len(solid.offsets) for solid in solids])
        most = max(len(solid.corners) for solid in solids)
        self.corners = np.stack([np.r_[solid.corners, np.repeat(
            solid.corners[:1], most - len(solid.corners), 0)] for solid in solids])
        for name in ('normals', 'offsets', 'axes', 'colors', 'patterns', 'repeats', 'reflectance'):
            setattr(self, name, np.concatenate([getattr(solid, name) for solid in solids]))
        self.face_solids = np.repeat(np.arange(len(solids)), self.face_counts)

    def poses(self, time):
        """Where all things are: x, y, yaw and speed, each (T,)."""
        return self.road.along(self.paths, time)

    def ego_pose(self, time):
        """x, y, yaw and speed of the car with the sensors."""
        return tuple(float(value) for value in self.road.along(self.ego, time))

    def faces(self, time, center, reach):
        """Faces of all things within ``reach`` metres of ``center`` (2,), measured from there."""
        x, y, yaw, _ = self.poses(time)
        place = np.stack([x - center[0], y - center[1], np.zeros_like(x)], 1)
        near = np.hypot(place[:, 0], place[:, 1]) < reach
        chosen = np.flatnonzero(near[self.solid_things])
        faces = np.flatnonzero(near[self.solid_things[self.face_solids]])
        turn = np.zeros((len(yaw), 3, 3))
        turn[:, 0, 0] = turn[:, 1, 1] = np.cos(yaw)
        turn[:, 1, 0] = np.sin(yaw)
        turn[:, 0, 1] = -turn[:, 1, 0]
        turn[:, 2, 2] = 1
        owner = self.solid_things[self.face_solids[faces]]
        normals = np.einsum('fij,fj->fi', turn[owner], self.normals[faces])
        axes = np.empty((len(faces), 2, 4))
        axes[..., :3] = np.einsum('fij,fuj->fui', turn[owner], self.axes[faces][..., :3])
        axes[..., 3] = self.axes[faces][..., 3] - np.einsum('fui,fi->fu', axes[..., :3],
                                                            place[owner])
        things = self.solid_things[chosen]
        corners = np.einsum('sij,skj->ski', turn[things], self.corners[chosen])
        return Faces(
            normals=normals, offsets=self.offsets[faces] + (normals * place[owner]).sum(1),
            axes=axes, corners=corners + place[things][:, None], things=things,
            starts=[0, *np.cumsum(self.face_counts[chosen]).tolist()],
            fixed=dict(owner=owner, **{name: getattr(self, name)[faces] for name in (
                'colors', 'patterns', 'repeats', 'reflectance')}))
