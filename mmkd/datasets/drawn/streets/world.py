"""Camera, light and class numbers of the street scenes.

World coordinates are metres: x to the right of the camera, y up from the road, z ahead. The
class numbers are Cityscapes' train ids.
"""
import math
from typing import ClassVar

import numpy as np

from ..canvas import Brush, Canvas, circle_points, paint

(ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN,
 SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE) = range(19)
IGNORE = 255


class World:
    """A canvas seen through a pinhole camera, with sun and haze.

    Args:
        rng (numpy.random.Generator): source of every choice.
        width (int): picture width.
        height (int): picture height.
    """

    #: how bright each kind of face is: towards the camera, upwards
    FACING: ClassVar[dict] = dict(near=0.9, top=1.1)

    def __init__(self, rng, width, height):
        self.rng = rng
        self.canvas = Canvas(width, height, SKY)
        self.focal = height * rng.uniform(1.7, 2.4)
        self.centre = width * rng.uniform(0.42, 0.58)
        self.horizon = height * rng.uniform(0.36, 0.5)
        self.eye = rng.uniform(1.2, 2.3)
        self.bend = rng.normal(0, 0.0015)
        self.sun = rng.uniform(-1, 1)  # where the light comes from: -1 left, 1 right
        self.bright = rng.uniform(0.65, 1.05)
        self.haze = paint(rng, saturation=(0.0, 0.25), value=(0.5, 0.9))
        self.haze_range = np.exp(rng.uniform(np.log(60), np.log(900)))

    def project(self, points):
        """World points (..., 3) to pixels (..., 2); z is kept in front of the camera."""
        points = np.asarray(points, np.float64)
        z = np.maximum(points[..., 2], 0.6)
        grow, pixels = self.focal / z, np.empty((*points.shape[:-1], 2))
        pixels[..., 0] = self.centre + grow * points[..., 0] + self.focal * self.bend * z
        pixels[..., 1] = self.horizon + grow * (self.eye - points[..., 1])
        return pixels

    def tint(self, colour, z, light=1.0):
        """A colour under the scene's light, seen through ``z`` metres of haze."""
        clear = math.exp(-z / self.haze_range)
        mixed = np.asarray(colour) * (light * self.bright * clear) + self.haze * (1 - clear)
        return np.minimum(np.maximum(mixed, 0, out=mixed), 255, out=mixed)

    def side_light(self, side):
        """Light on a face that looks towards -x (side -1) or +x (side 1)."""
        return 0.82 + 0.3 * side * self.sun

    def brush(self, x, z, label, **kwargs):
        """A flat upright brush standing on the road at (x, z)."""
        foot = self.project((x, 0, z))
        return Brush(self.canvas, foot, self.focal / z, label,
                     tint=lambda colour: self.tint(colour, z), **kwargs)

    def poly(self, points, colour, label=None, light=1.0, alpha=1.0):
        """A polygon of world points (K, 3), lit as at its middle depth."""
        points = np.asarray(points, np.float64)
        colour = self.tint(colour, points[:, 2].sum() / len(points), light)
        self.canvas.poly(self.project(points), colour, label, alpha)

    def stripes(self, boxes, colour, alpha=1.0):
        """Short marks on the ground, (x0, x1, z0, z1) each, that don't overlap."""
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        points = np.zeros((len(boxes), 4, 3))
        points[..., 0], points[..., 2] = boxes[:, [0, 1, 1, 0]], boxes[:, [2, 2, 3, 3]]
        self.canvas.polys(self.project(points), self.tint(colour, 12), None, alpha)

    def ground(self, x0, x1, z0, z1, colour, label=None, alpha=1.0):
        """A strip of ground that follows the bend of the road, x0..x1 wide."""
        z = 1 / np.linspace(1 / z0, 1 / z1, 10)
        left = np.stack([np.full_like(z, x0), np.zeros_like(z), z], axis=1)
        right = left[::-1].copy()
        right[:, 0] = x1
        self.poly(np.concatenate([left, right]), colour, label, alpha=alpha)

    def shadow(self, x, z, width, length, strength=0.45):
        """A soft dark patch under something that stands on the ground."""
        points = circle_points() * (width / 2, length / 2)
        points = np.stack([points[:, 0] + x, np.zeros(len(points)), points[:, 1] + z], axis=1)
        self.canvas.poly(self.project(points), (12, 10, 10), None, strength)

    def solid(self, x, low, high, colour, label):
        """A block that tapers from a lower to an upper rectangle; draws the faces in sight.

        Args:
            x (float): middle of the block.
            low (tuple): (y, z near, z far, width) of the lower rectangle.
            high (tuple): the same for the upper one.
            colour (numpy.ndarray): BGR.
            label (int): class of all faces.

        Returns:
            dict: face name -> corners (4, 3) in the order near/left bottom, far/right bottom,
            top right, top left; only faces in sight.
        """
        (y0, n0, f0, w0), (y1, n1, f1, w1) = low, high
        faces = {}
        if y1 < self.eye:
            faces['top'] = [(x - w1 / 2, y1, n1), (x + w1 / 2, y1, n1), (x + w1 / 2, y1, f1),
                            (x - w1 / 2, y1, f1)]
        shift = self.bend * n0 * n0
        for side in (-1, 1):
            if (x + shift) * side < -w0 / 2:
                a, b = x + side * w0 / 2, x + side * w1 / 2
                faces['side'] = [(a, y0, n0), (a, y0, f0), (b, y1, f1), (b, y1, n1)]
                light = self.side_light(side)
        faces['near'] = [(x - w0 / 2, y0, n0), (x + w0 / 2, y0, n0), (x + w1 / 2, y1, n1),
                         (x - w1 / 2, y1, n1)]
        for name, corners in faces.items():
            self.poly(corners, colour, label, self.FACING[name] if name != 'side' else light)
        return {name: np.array(corners) for name, corners in faces.items()}

    def on_face(self, corners, boxes, colour, light=1.0):
        """Rectangles (u0, v0, u1, v1) in 0..1 painted on a face from ``solid``."""
        corners = np.asarray(corners, np.float64)
        far, tall = corners[:, 2].max(), np.ptp(corners[:, 1])
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        if tall * self.focal / far < 2 or not len(boxes):
            return  # too small to be seen
        u, v = boxes[:, [0, 2, 2, 0]], boxes[:, [1, 1, 3, 3]]
        a, b, c, d = corners
        u, v = u[..., None], v[..., None]
        points = (a * (1 - u) + b * u) * (1 - v) + (d * (1 - u) + c * u) * v
        colour = self.tint(colour, corners[:, 2].sum() / 4, light)
        self.canvas.polys(self.project(points), colour)

    def disc(self, x, y, z, radius, colour, label=None):
        """A circle that stands along the road (a wheel seen from the side)."""
        points = circle_points(14) * radius
        points = np.stack([np.full(len(points), x), points[:, 1] + y, points[:, 0] + z], axis=1)
        self.poly(points, colour, label)
