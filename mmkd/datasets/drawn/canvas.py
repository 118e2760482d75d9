"""A drawing surface that keeps an image and its label map in step.

Both are drawn with the same primitives at ``SCALE`` times the final size. At the end the image is
averaged down, which gives soft edges, and of each label block the middle pixel is kept, which
gives hard labels that sit exactly under those edges.
"""
import colorsys
from functools import lru_cache

import cv2
import numpy as np

SCALE = 3  # odd, so that every block of labels has a middle pixel
_SHIFT = 4  # fractional bits of the coordinates handed to OpenCV


@lru_cache(maxsize=8)
def circle_points(count=20):
    """Points on the unit circle, (count, 2)."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def paint(rng, hue=(0.0, 1.0), saturation=(0.0, 0.6), value=(0.2, 0.95)):
    """A random colour from ranges of hue, saturation and value.

    Returns:
        numpy.ndarray: BGR in 0..255, shape (3,).
    """
    red, green, blue = colorsys.hsv_to_rgb(
        rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))
    return np.array([blue, green, red]) * 255


def pick(rng, *options):
    """One of the options (much quicker than ``rng.choice``)."""
    return options[int(rng.integers(len(options)))]


def smooth_field(rng, width, height, cells):
    """Smooth random field of roughly unit spread, shape (height, width), float32."""
    rows = max(2, round(cells * height / max(width, 1)))
    coarse = rng.standard_normal((rows + 1, cells + 1), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


class Canvas:
    """Image and labels under one brush.

    Coordinates are in pixels of the final picture: pixel (0, 0) covers the unit square at the
    origin. A colour is BGR in 0..255. A label of None leaves the labels as they are (decoration
    inside an object that has been labelled already).

    Args:
        width (int): final width in pixels.
        height (int): final height in pixels.
        label (int): label of the empty canvas.
    """

    def __init__(self, width, height, label=0):
        self.width, self.height = width, height
        self.image = np.zeros((height * SCALE, width * SCALE, 3), np.uint8)
        self.labels = np.full((height * SCALE, width * SCALE), label, np.uint8)
        self._reach = (8 * SCALE * max(width, height)) << _SHIFT  # OpenCV's numbers are small

    def _fixed(self, points):
        points = np.asarray(points, np.float64) * (SCALE << _SHIFT) - (0.5 * (1 << _SHIFT))
        np.minimum(points, self._reach, out=points)
        np.maximum(points, -self._reach, out=points)
        return np.rint(points, out=points).astype(np.int32)

    def poly(self, points, colour, label=None, alpha=1.0):
        """Fill one polygon (K, 2); ``alpha`` below 1 lets what is behind shine through."""
        self.polys(np.asarray(points)[None], colour, label, alpha)

    def polys(self, polygons, colour, label=None, alpha=1.0):
        """Fill polygons (N, K, 2) that don't overlap, all in one colour."""
        if not len(polygons):
            return
        polygons = list(self._fixed(polygons))
        colour = tuple(map(float, colour))
        if alpha >= 1:
            cv2.fillPoly(self.image, polygons, colour, cv2.LINE_8, _SHIFT)
        else:
            self._blend(polygons, colour, alpha)
        if label is not None:
            cv2.fillPoly(self.labels, polygons, int(label), cv2.LINE_8, _SHIFT)

    def _blend(self, polygons, colour, alpha):
        flat = np.concatenate(polygons) >> _SHIFT
        left, top = np.maximum(flat.min(axis=0) - 1, 0)
        right, bottom = flat.max(axis=0) + 3
        window = self.image[top:max(bottom, 0), left:max(right, 0)]
        if window.size == 0:
            return
        layer = window.copy()
        moved = [p - np.array([left, top], np.int32) * (1 << _SHIFT) for p in polygons]
        cv2.fillPoly(layer, moved, colour, cv2.LINE_8, _SHIFT)
        window[...] = cv2.addWeighted(layer, alpha, window.copy(), 1 - alpha, 0)

    def ellipse(self, centre, radii, colour, label=None, alpha=1.0, angle=0.0):
        """Fill an ellipse with ``radii`` (rx, ry), turned by ``angle`` radians."""
        points = circle_points() * np.asarray(radii, np.float64)
        if angle:
            cos, sin = np.cos(angle), np.sin(angle)
            points = points @ np.array([[cos, sin], [-sin, cos]])
        self.poly(points + np.asarray(centre), colour, label, alpha)

    def line(self, start, end, width, colour, label=None, alpha=1.0):
        """A straight bar of ``width`` pixels."""
        start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
        along = end - start
        length = max(float(np.hypot(*along)), 1e-6)
        across = np.array([-along[1], along[0]]) * (width / 2 / length)
        self.poly([start + across, end + across, end - across, start - across],
                  colour, label, alpha)

    def blobs(self, centres, radii, colours, label=None):
        """Filled circles: centres (N, 2), radii (N,), colours (N, 3)."""
        centres = self._fixed(centres).tolist()
        radii = np.rint(np.asarray(radii) * SCALE * (1 << _SHIFT)).astype(int).tolist()
        colours = np.clip(colours, 0, 255).tolist()
        for centre, radius, colour in zip(centres, radii, colours, strict=True):
            cv2.circle(self.image, centre, radius, colour, -1, cv2.LINE_8, _SHIFT)
            if label is not None:
                cv2.circle(self.labels, centre, radius, label, -1, cv2.LINE_8, _SHIFT)

    def finish(self):
        """The picture at its final size.

        Returns:
            tuple: image uint8 (H, W, 3) BGR and labels uint8 (H, W).
        """
        image = cv2.resize(self.image, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return image, self.labels[SCALE // 2::SCALE, SCALE // 2::SCALE].copy()


class Brush:
    """Draws upright flat shapes on a canvas in metres, y upwards, from a foot point.

    Args:
        canvas (Canvas): where to draw.
        foot (tuple): pixel position of the local origin.
        scale (float): pixels per metre.
        label (int): label of what is drawn.
        flip (int): 1 or -1, mirrors left and right.
        squash (float): horizontal scale, for shapes turned away from the viewer.
        angle (float): rotation in radians.
        tint (callable): maps a colour to the colour under the scene's light.
    """

    def __init__(self, canvas, foot, scale, label, flip=1, squash=1.0, angle=0.0, tint=None):
        self.canvas, self.label, self.scale = canvas, label, scale
        self._tint = tint or (lambda colour: colour)
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [-sin, -cos]]) * scale  # y up becomes rows down
        self._matrix = np.diag([flip * squash, 1.0]) @ turn
        self._foot = np.asarray(foot, np.float64)

    def at(self, points):
        """Local points (..., 2) to pixels."""
        return np.asarray(points, np.float64) @ self._matrix + self._foot

    def poly(self, points, colour, label=None, alpha=1.0):
        """Polygon in metres; the brush's own label unless another is given."""
        label = self.label if label is None else label
        self.canvas.poly(self.at(points), self._tint(colour), label, alpha)

    def rect(self, x0, y0, x1, y1, colour, label=None, alpha=1.0):
        """Axis-aligned rectangle in metres."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, label, alpha)

    def rects(self, boxes, colour):
        """Several rectangles (x0, y0, x1, y1) that don't overlap."""
        corners = [[(a, b), (c, b), (c, d), (a, d)] for a, b, c, d in boxes]
        self.canvas.polys(self.at(corners), self._tint(colour), self.label)

    def ellipse(self, x, y, rx, ry, colour, label=None, alpha=1.0, angle=0.0):
        """Ellipse in metres, turned by ``angle`` radians."""
        points = circle_points() * (rx, ry)
        if angle:
            cos, sin = np.cos(angle), np.sin(angle)
            points = points @ np.array([[cos, sin], [-sin, cos]])
        self.poly(points + (x, y), colour, label, alpha)

    def path(self, points, width, colour, label=None):
        """A bent bar through the points; never thinner than a pixel."""
        pixels = self.at(points)
        label = self.label if label is None else label
        width, colour = max(width * self.scale, 0.8), self._tint(colour)
        for start, end in zip(pixels[:-1], pixels[1:], strict=True):
            self.canvas.line(start, end, width, colour, label)

    def blobs(self, points, radii, colours, label=None):
        """Filled circles in metres: points (N, 2), radii (N,), colours (N, 3)."""
        label = self.label if label is None else label
        self.canvas.blobs(self.at(points), np.asarray(radii) * self.scale,
                          self._tint(np.asarray(colours)), label)
