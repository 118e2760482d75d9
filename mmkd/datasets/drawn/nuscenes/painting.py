"""Paints what a camera's rays met: patterns on faces, sunlight and shadow, ground, sky and haze."""
import cv2
import numpy as np

from .cast import GROUND, SKY
from .solids import PATTERNS

HAZE = np.array([0.86, 0.80, 0.74], np.float32)  # BGR of the horizon
ZENITH = np.array([0.72, 0.48, 0.28], np.float32)
DISTANCE = 130.  # metres after which haze hides two thirds
AMBIENT = 0.45
LIT, RED = (2., 2.1, 2.1), (0.06, 0.06, 2.)  # lamps are bright in the shade, too


def paint_picture(rng, rays, near, index, faces, ground, sun):
    """The picture of one camera.

    Args:
        rng (numpy.random.Generator): source of the grain.
        rays (Rays): H rows and W columns.
        near: (H, W) as ``cast`` gives it.
        index: (H, W) likewise.
        faces (Faces): in metres from the rays' origin.
        ground (Ground): what lies on the ground, in metres from the car.
        sun: (3,) unit vector towards the sun.

    Returns:
        numpy.ndarray: uint8 (H, W, 3) BGR.
    """
    directions = rays.directions().reshape(-1, 3)
    index = index.ravel()
    sky, solid, below = (np.flatnonzero(where) for where in (
        index == SKY, index >= 0, index == GROUND))
    color = np.empty((len(index), 3), np.float32)
    color[sky] = _sky(directions[sky], sun)
    depth = 1 / np.maximum(near.ravel(), 1e-6)
    color[solid] = _faces(index[solid], directions[solid] * depth[solid, None], faces, sun)
    color[below] = ground.colors(directions[below] * depth[below, None]
                                 + rays.origin.astype(np.float32))
    clear = np.exp(-depth / DISTANCE)
    clear[sky] = 1
    color -= HAZE
    color *= clear[:, None]
    color += HAZE
    color = cv2.GaussianBlur(color.reshape(*rays.shape, 3), (3, 3), 0.45)
    grain = rng.integers(-5, 6, color.shape, dtype=np.int8)
    return cv2.add(cv2.convertScaleAbs(color, alpha=255), grain, dtype=cv2.CV_8U)


def _sky(directions, sun):
    """Brighter towards the horizon and the sun, (N, 3)."""
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    up = np.clip(unit[:, 2:] * 2.2, 0, 1)
    glow = np.clip(unit @ sun.astype(np.float32), 0, 1)[:, None] ** 24
    return HAZE * (1 - up) + ZENITH * up + 0.5 * glow


def _faces(face, points, faces, sun):
    """Colours (N, 3) of points (N, 3) on faces (N,), patterns and light included."""
    fixed = faces.fixed
    light = AMBIENT + 0.7 * np.clip(faces.normals @ sun, 0, 1)
    light += 0.12 * np.clip(faces.normals[:, 2], -1, 0)  # below, it is dark
    color = fixed['colors'].astype(np.float32)[face]
    patterns = fixed['patterns'][face]
    axes = faces.axes.astype(np.float32)
    for number in range(1, len(PATTERNS)):
        chosen = np.flatnonzero(patterns == number)
        if len(chosen):
            on, where = face[chosen], points[chosen]
            u, v = (np.einsum('nj,nj->n', axes[on, axis, :3], where) + axes[on, axis, 3]
                    for axis in (0, 1))
            _LOOKS[PATTERNS[number]](color, chosen, u, v, fixed['repeats'][on])
    return color * light.astype(np.float32)[face, None]


def _put(color, chosen, where, value):
    """Give the chosen points at which ``where`` holds a colour."""
    color[chosen[where]] = value


def _front(color, chosen, u, v, repeats):
    """Headlights beside a dark grille."""
    _put(color, chosen, (abs(u) < 0.5) & (v > 0.25) & (v < 0.75), (0.08, 0.08, 0.08))
    _put(color, chosen, (abs(u) > 0.6) & (abs(u) < 0.97) & (v > 0.45) & (v < 0.85), LIT)


def _back(color, chosen, u, v, repeats):
    """Tail lights beside a number plate."""
    _put(color, chosen, (abs(u) < 0.3) & (v > 0.2) & (v < 0.5), (0.9, 0.9, 0.9))
    _put(color, chosen, (abs(u) > 0.65) & (v > 0.4) & (v < 0.95), RED)


def _doors(color, chosen, u, v, repeats):
    """Two dark doors, and tail lights below."""
    color[chosen[(abs(abs(u) - 0.48) < 0.4) & (v > 0.2) & (v < 0.93)]] *= 0.4
    _put(color, chosen, (abs(u) > 0.65) & (v > 0.02) & (v < 0.15), RED)


def _side(color, chosen, u, v, repeats):
    """A band along the middle."""
    _put(color, chosen, (v > 0.4) & (v < 0.6), (0.35, 0.3, 0.3))


def _windows(color, chosen, u, v, repeats):
    """Rows of windows."""
    along, up = ((u + 1) / 2 * repeats[:, 0]) % 1, (v * repeats[:, 1]) % 1
    _put(color, chosen, (abs(along - 0.5) < 0.3) & (abs(up - 0.55) < 0.25), (0.28, 0.22, 0.18))


def _leaves(color, chosen, u, v, repeats):
    """Light and dark spots."""
    wave = np.sin(u * 9 + 3 * np.sin(v * 11)) * np.sin(v * 13 + 2 * np.sin(u * 7))
    color[chosen] *= (1 + 0.3 * wave)[:, None]


def _stripes(color, chosen, u, v, repeats):
    """Red and white, slanting."""
    _put(color, chosen, ((u + 1) / 2 * repeats[:, 0] + 0.6 * v) % 1 < 0.5, (0.15, 0.12, 0.85))


def _bands(color, chosen, u, v, repeats):
    """White rings."""
    _put(color, chosen, abs(v - 0.5) < 0.14, (0.95, 0.95, 0.95))


def _glass(color, chosen, u, v, repeats):
    """A window in a frame."""
    _put(color, chosen, (abs(u) < 0.88) & (v > 0.1) & (v < 0.85), (0.25, 0.2, 0.15))


def _face(color, chosen, u, v, repeats):
    """Skin, and eyes."""
    _put(color, chosen, v < 0.8, (0.5, 0.62, 0.85))
    _put(color, chosen, (abs(abs(u) - 0.45) < 0.2) & (abs(v - 0.6) < 0.1), (0.1, 0.1, 0.1))


_LOOKS = dict(front=_front, back=_back, doors=_doors, side=_side, windows=_windows,
              leaves=_leaves, stripes=_stripes, bands=_bands, glass=_glass, face=_face)
