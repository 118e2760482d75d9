"""Random pictures of many things, each with a mask of its own, as for detection.

Up to eight things of all sizes, some in front of others; now and then a crowd too dense to count,
and now and then nothing but what belongs to no class.
"""
from typing import NamedTuple

import cv2
import numpy as np

from ..camera import check_size, develop
from ..canvas import Canvas, pick
from .scenes import OBJECTS, PLACES, draw_object, draw_place

#: shares of the pictures without any thing, and with a crowd
EMPTY, CROWDED = 0.08, 0.2
#: a thing of which fewer pixels can be seen is background
LEAST = 16


class Instance(NamedTuple):
    """A thing, or a crowd of one class, in a picture.

    Attributes:
        name (str): Its class.
        mask (numpy.ndarray): bool (H, W), what can be seen of it; holes of a thing are filled.
        crowd (bool): Whether it is many things that nobody told apart.
    """
    name: str
    mask: np.ndarray
    crowd: bool


def draw_instances(rng, width=192, height=144, classes=tuple(OBJECTS), first=None):
    """One picture with up to eight things, and perhaps a crowd.

    Args:
        rng (numpy.random.Generator): source of every choice.
        width (int): picture width in pixels.
        height (int): picture height in pixels.
        classes (sequence of str): which of Pascal VOC's twenty classes may occur.
        first (str): class of the first thing; drawn by chance if None.

    Returns:
        tuple: image uint8 (H, W, 3) BGR and a list of :class:`Instance`, far ones first.

    Raises:
        ValueError: if the picture is too small, or a class isn't one of Pascal VOC's.
    """
    check_size(width, height)
    names = list(classes)
    for name in [*names, *([] if first is None else [first])]:
        if name not in OBJECTS:
            raise ValueError(f'class {name!r}: expected one of {", ".join(OBJECTS)}')
    if not names:
        raise ValueError('classes: expected at least one')
    main = first or pick(rng, *names)
    place = pick(rng, *OBJECTS[main][4]) if rng.random() < 0.8 else pick(rng, *PLACES)
    canvas = Canvas(width, height, 0)
    horizon = draw_place(canvas, rng, place)
    kinds = []
    for name, things, crowd in sorted(_groups(rng, main, place, names), key=lambda g: g[1][0][0]):
        kinds.append((name, crowd))
        for size, x in things:  # far ones first
            draw_object(canvas, rng, name, size, x, place, horizon, len(kinds))
    image, labels = canvas.finish()
    found = []
    for label, (name, crowd) in enumerate(kinds, 1):
        mask = labels == label
        mask = mask if crowd else _filled(mask)
        if mask.sum() >= LEAST:
            found.append(Instance(name, mask, crowd))
    return develop(rng, image), found


def _groups(rng, main, place, names):
    """What is in the picture: (class, [(size, x), ...], whether it is a crowd)."""
    if rng.random() < EMPTY:
        return []
    at_home = [name for name in names if place in OBJECTS[name][4]] or [main]
    groups = [(main, [(_size(rng, 0.5, 1.3), rng.uniform(0.15, 0.85))], False)]
    for _ in range(pick(rng, 0, 1, 2, 3, 4, 5, 7)):
        name = main if rng.random() < 0.3 else pick(rng, *at_home)
        groups.append((name, [(_size(rng, 0.2, 1.1), rng.uniform(0.03, 0.97))], False))
    if rng.random() < CROWDED:
        size, x = rng.uniform(0.12, 0.3), rng.uniform(0.1, 0.9)
        groups.append((pick(rng, *at_home), sorted(
            (size * rng.uniform(0.85, 1.15), x + rng.normal(0, 0.06))
            for _ in range(int(rng.integers(8, 20)))), True))
    return groups


def _size(rng, low, high):
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _filled(mask):
    """A mask without holes."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED) > 0
