"""The ground around the car from above: lanes, markings, kerbs, and the shadows on them."""
import cv2
import numpy as np

from .painting import AMBIENT
from .road import HOUSES, KERB, ROAD

REACH, CELL = 56., 0.125  # metres to each side that are drawn, and of a pixel
SHIFT = 4  # fractional bits of the coordinates handed to OpenCV
GRASS, ASPHALT, PARKING, PAVEMENT, WHITE, YELLOW = (
    (64, 107, 84), (87, 84, 84), (107, 105, 102), (148, 153, 158), (230, 230, 230), (50, 178, 217))
#: (left, right, colour) of what runs along the road, in metres from its middle
BANDS = (
    (HOUSES, -HOUSES, PAVEMENT), (KERB, -KERB, PARKING), (ROAD, -ROAD, ASPHALT),
    *((middle + half, middle - half, WHITE)
      for middle, half in ((KERB, 0.1), (-KERB, 0.1), (ROAD, 0.08), (-ROAD, 0.08))),
    (0.13, -0.13, YELLOW))


class Ground:
    """Colours of the ground around a car.

    Args:
        world (World): the scene.
        faces (Faces): what casts shadows, in metres from ``center``.
        center: (2,) the car.
        place (float): metres along the road at which it is.
    """

    def __init__(self, world, faces, center, place):
        size = round(2 * REACH / CELL)
        canvas = np.empty((size, size, 3), np.uint8)
        canvas[:] = GRASS
        along = np.arange(place - 1.5 * REACH, place + 1.5 * REACH, 1.)
        self.center, self.road, self.sun = center, world.road, world.sun
        for left, right, color in BANDS:
            self._band(canvas, along, left, right, color)
        first = np.floor((place - 1.5 * REACH) / 9.) * 9.
        for start in np.arange(first, place + 1.5 * REACH, 9.):
            for left in (3.4, -3.4):
                self._band(canvas, np.array([start, start + 3.]), left + 0.08, left - 0.08, WHITE)
        self.canvas = cv2.merge([canvas, self._shadows(faces, size)])

    def _band(self, canvas, along, left, right, color):
        """Fill what lies between two lines beside the road."""
        edges = [np.stack(self.road.point(along, side)[:2], 1) for side in (left, right)]
        outline = np.r_[edges[0], edges[1][::-1]] - self.center
        cv2.fillPoly(canvas, [self._pixels(outline)], color, cv2.LINE_AA, SHIFT)

    @staticmethod
    def _pixels(points):
        return np.rint(((points + REACH) / CELL - 0.5) * 2 ** SHIFT).astype(np.int32)

    def _shadows(self, faces, size):
        """255 where the sun does not reach the ground, (H, W) uint8."""
        shadow = np.zeros((size, size), np.uint8)
        flat = faces.corners[..., :2] - faces.corners[..., 2:] * (self.sun[:2] / self.sun[2])
        near = (np.abs(flat) < REACH).all(2).any(1)
        for outline in self._pixels(flat[near].clip(-2 * REACH, 2 * REACH)):
            cv2.fillConvexPoly(shadow, cv2.convexHull(outline), 255, cv2.LINE_AA, SHIFT)
        return shadow

    def colors(self, points):
        """Colours (N, 3) of points (N, 3) on the ground, in metres from the car."""
        count, width = len(points), 4096  # OpenCV takes no longer rows
        if not count:
            return np.empty((0, 3), np.float32)
        padded = np.zeros((-(-count // width) * width, 2), np.float32)
        padded[:count] = (points[:, :2] + REACH) / CELL - 0.5
        seen = cv2.remap(self.canvas, padded.reshape(-1, width, 2), None, cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_CONSTANT, borderValue=(*GRASS, 0))
        seen = seen.reshape(-1, 4)[:count].astype(np.float32) / 255
        light = AMBIENT + 0.7 * np.float32(self.sun[2]) * (1 - seen[:, 3])
        return seen[:, :3] * (light * self._roughness(points))[:, None]

    def _roughness(self, points):
        """What makes the ground's brightness uneven, fixed to the world, (N,)."""
        x, y = (points[:, axis] + np.float32(self.center[axis] % (20 * np.pi)) for axis in (0, 1))
        wave = np.sin(x * 3.1 + 2 * np.sin(y * 1.7)) * np.sin(y * 2.9 + 2 * np.sin(x * 1.3))
        return 1 + np.float32(0.05) * wave
