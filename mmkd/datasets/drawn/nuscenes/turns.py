"""Rotations as unit quaternions (w, x, y, z), nuScenes' order."""
import numpy as np


def about(axis, angle):
    """The turn by ``angle`` radians around an axis (3,) of any length."""
    axis = np.asarray(axis, float)
    return np.array([np.cos(angle / 2), *(np.sin(angle / 2) * axis / np.linalg.norm(axis))])


def joined(second, first):
    """The turn that is ``first`` and then ``second``."""
    (a, u), (b, v) = (second[0], second[1:]), (first[0], first[1:])
    turn = np.array([a * b - u @ v, *(a * v + b * u + np.cross(u, v))])
    return turn / np.linalg.norm(turn)


def matrix(turn):
    """(3, 3), to be multiplied with columns."""
    w, x, y, z = turn
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])
