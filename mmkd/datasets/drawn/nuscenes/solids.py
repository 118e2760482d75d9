"""Convex solids: what everything in the drawn world is built from.

A solid is an intersection of half-spaces, one for each face. A face has a colour, a pattern that is
painted on it, and how much of a laser's light it sends back.
"""
from dataclasses import dataclass, field

import numpy as np

#: what is painted on a face, by number (``painting.py`` says how each looks)
PATTERNS = ('plain', 'front', 'back', 'doors', 'side', 'windows', 'leaves', 'stripes', 'bands',
            'glass', 'face')


@dataclass
class Solid:
    """Convex, in metres in the frame of the thing it is part of: x forward, y left, z up.

    Attributes:
        normals: (F, 3) of the faces, outwards.
        offsets: (F,): a point p is inside where ``normals @ p <= offsets``.
        corners: (K, 3).
        axes: (F, 2, 4): dot with (x, y, z, 1) gives a point's place (u, v) on each face: u -1..1
            from its right to its left edge as seen along the outward normal, v 0..1 upwards.
        colors: (F, 3) BGR 0..1.
        patterns: (F,) index into ``PATTERNS``.
        repeats: (F, 2): how often a pattern repeats along u and v.
        reflectance: (F,) share of a laser's light that comes back, 0..1.
    """

    normals: np.ndarray
    offsets: np.ndarray
    corners: np.ndarray
    axes: np.ndarray
    colors: np.ndarray
    patterns: np.ndarray
    repeats: np.ndarray
    reflectance: np.ndarray


@dataclass
class Paint:
    """How a solid looks: a colour for all of it, and for single faces of a box another pattern."""

    color: tuple
    reflectance: float = 0.25
    pattern: str = 'plain'
    front: str = None
    back: str = None
    side: str = None
    storey: tuple = (3., 3.)  # metres that one repeat of a pattern takes, along and up
    extra: dict = field(default_factory=dict)  # face index -> reflectance


def rectangle(front, back, half_width, narrow=0.):
    """Four corners (4, 2) from ``back`` to ``front``: front left first, then counter-clockwise."""
    half = half_width - narrow
    return np.array([[front, half], [back, half], [back, -half], [front, -half]])


def polygon(radius, sides=8, center=(0., 0.)):
    """A regular polygon (sides, 2), counter-clockwise."""
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    return np.stack([np.cos(angle), np.sin(angle)], 1) * radius + np.asarray(center)


def loft(bottom, top, low, high, paint):
    """The solid between two polygons with parallel sides, at heights ``low`` and ``high``.

    Faces are the sides in the polygon's order, then bottom and top. Of a ``rectangle`` they are
    left, back, right, front.

    Args:
        bottom: (K, 2), counter-clockwise.
        top: (K, 2).
        low: height of the bottom.
        high: height of the top.
        paint (Paint): how it looks.
    """
    count = len(bottom)
    lower, upper = np.empty((2, count, 3))
    lower[:, :2], lower[:, 2], upper[:, :2], upper[:, 2] = bottom, low, top, high
    along, rise = np.roll(lower, -1, 0) - lower, upper - lower
    normals = np.empty((count + 2, 3))
    normals[:count, 0] = along[:, 1] * rise[:, 2]
    normals[:count, 1] = -along[:, 0] * rise[:, 2]
    normals[:count, 2] = along[:, 0] * rise[:, 1] - along[:, 1] * rise[:, 0]
    normals[:count] /= np.sqrt((normals[:count] ** 2).sum(1, keepdims=True))
    normals[count:] = (0, 0, -1), (0, 0, 1)
    offsets = np.empty(count + 2)
    offsets[:count], offsets[count:] = (normals[:count] * lower).sum(1), (-low, high)
    length = np.sqrt((along ** 2).sum(1))
    axes = np.zeros((count + 2, 2, 4))
    axes[:count, 0, :3] = along * (2 / length ** 2)[:, None]
    axes[:count, 0, 3] = -((lower + along / 2) * axes[:count, 0, :3]).sum(1)
    axes[:count, 1, 2] = 1 / (high - low)
    axes[:count, 1, 3] = -low / (high - low)
    span = np.ptp(bottom, 0) / 2
    center = (bottom.max(0) + bottom.min(0)) / 2
    for axis in (0, 1):  # seen from above and from below
        axes[count:, axis, axis] = 1 / span[axis]
        axes[count:, axis, 3] = -center[axis] / span[axis]
    colors = np.tile(np.asarray(paint.color, float), (count + 2, 1))
    names = [paint.pattern] * count + ['plain', 'plain']
    if paint.pattern == 'leaves':
        names[-2:] = ['leaves', 'leaves']
    for place, name in zip((0, 1, 2, 3), (paint.side, paint.back, paint.side, paint.front),
                           strict=True):
        names[place] = name or names[place]
    reflectance = np.full(count + 2, paint.reflectance)
    for face, value in paint.extra.items():
        reflectance[face] = value
    repeats = np.ones((count + 2, 2))
    repeats[:count, 0] = np.maximum(1, np.rint(length / paint.storey[0]))
    repeats[:count, 1] = max(1, round((high - low) / paint.storey[1]))
    return Solid(normals, offsets, np.concatenate([lower, upper]), axes, colors,
                 np.array([PATTERNS.index(name) for name in names]), repeats, reflectance)


def box(front, back, half_width, low, high, paint, rake=(0., 0.), narrow=0.):
    """A box along x whose top is ``rake`` shorter at the front and at the back, and ``narrow``
    narrower on each side."""
    return loft(rectangle(front, back, half_width),
                rectangle(front - rake[0], back + rake[1], half_width, narrow), low, high, paint)


def pillar(radius, low, high, paint, top=None, center=(0., 0.), sides=8, top_center=None):
    """A prism, or a cone that ends in a radius of ``top``; it leans if ``top_center`` differs."""
    top = radius if top is None else top
    return loft(polygon(radius, sides, center),
                polygon(max(top, 1e-3), sides, center if top_center is None else top_center),
                low, high, paint)


def moved(solid, by):
    """The solid, moved by a vector (3,), in place."""
    solid.offsets = solid.offsets + solid.normals @ by
    solid.corners = solid.corners + by
    solid.axes = solid.axes.copy()
    solid.axes[..., 3] -= solid.axes[..., :3] @ by
    return solid
