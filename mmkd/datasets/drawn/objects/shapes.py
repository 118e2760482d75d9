"""Animals, furniture and craft, drawn flat with a ``Brush`` (metres, y up from the ground)."""
import numpy as np

from ..canvas import paint, pick
from ..streets.figures import cloth

BLACK = np.full(3, 22.0)


def _coat(rng, hue=(0.03, 0.13), value=(0.15, 0.9)):
    return paint(rng, hue=hue, saturation=(0.05, 0.6), value=value)


def _legs(brush, rng, places, top, width, colour):
    for x in places:
        step = rng.uniform(-0.12, 0.12) * top
        brush.path([(x, top), (x + step * 0.3, top * 0.5), (x + step, 0.02)], width, colour)


def _patches(brush, rng, centre, radii, colour, count):
    """Spots that stay inside an ellipse."""
    for _ in range(count):
        turn, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.6)
        brush.ellipse(centre[0] + radii[0] * reach * np.cos(turn),
                      centre[1] + radii[1] * reach * np.sin(turn),
                      radii[0] * rng.uniform(0.12, 0.3), radii[1] * rng.uniform(0.2, 0.38), colour)


def draw_cat(brush, rng):
    """A cat with pointed ears and a long tail, sitting or walking, plain or striped."""
    coat = _coat(rng, value=(0.1, 0.95))
    dark = coat * 0.6
    tail = [(-0.2, 0.12), (-0.36, 0.15), (-0.42, 0.34), (-0.36, 0.46)]
    if rng.random() < 0.5:
        brush.path(tail, 0.06, coat)
        brush.ellipse(-0.05, 0.17, 0.19, 0.17, coat)
        brush.ellipse(0.05, 0.25, 0.12, 0.22, coat)
        for x in (0.02, 0.12):
            brush.path([(x, 0.25), (x + 0.01, 0.02)], 0.06, coat * 0.9)
        head = (0.1, 0.5)
    else:
        _legs(brush, rng, (-0.2, -0.13, 0.17, 0.23), 0.2, 0.06, coat * 0.85)
        brush.path([(-0.22, 0.27), (-0.38, 0.36), (-0.45, 0.55)], 0.05, coat)
        brush.ellipse(0, 0.25, 0.28, 0.11, coat)
        head = (0.31, 0.37)
    if rng.random() < 0.5:
        for x in np.linspace(-0.12, 0.08, 4):
            brush.path([(x, 0.17), (x - 0.02, 0.27)], 0.025, dark)
    x, y = head
    for side in (-1, 1):
        brush.poly([(x + side * 0.11, y + 0.02), (x + side * 0.02, y + 0.09),
                    (x + side * 0.1, y + 0.2)], dark)
    brush.ellipse(x, y, 0.125, 0.11, coat)
    for side in (-1, 1):
        brush.ellipse(x + side * 0.05, y + 0.02, 0.022, 0.026, np.array([90., 210., 190.]))


def draw_dog(brush, rng):
    """A dog with a long muzzle, hanging ears and a raised tail."""
    coat = _coat(rng, value=(0.1, 0.95))
    leg = rng.uniform(0.22, 0.42)
    _legs(brush, rng, (-0.3, -0.2, 0.22, 0.31), leg + 0.08, 0.085, coat * 0.85)
    brush.path([(-0.34, leg + 0.2), (-0.5, leg + 0.32), (-0.52, leg + 0.48)], 0.06, coat)
    brush.ellipse(0, leg + 0.13, 0.4, 0.15, coat)
    brush.path([(0.28, leg + 0.18), (0.42, leg + 0.4)], 0.18, coat)
    brush.ellipse(0.45, leg + 0.45, 0.14, 0.12, coat)
    brush.poly([(0.5, leg + 0.53), (0.75, leg + 0.45), (0.74, leg + 0.36), (0.48, leg + 0.34)],
               coat * 0.95)
    for x, y, r in ((0.74, 0.43, 0.035), (0.51, 0.5, 0.022)):  # nose, eye
        brush.ellipse(x, leg + y, r, r, BLACK)
    brush.ellipse(0.38, leg + 0.4, 0.06, 0.14, coat * 0.6)
    if rng.random() < 0.5:
        _patches(brush, rng, (0, leg + 0.13), (0.4, 0.15), _coat(rng), 4)


def draw_horse(brush, rng):
    """A horse: long legs, long arched neck with a mane, flowing tail."""
    coat, mane = _coat(rng, value=(0.12, 0.8)), _coat(rng, value=(0.05, 0.5))
    _legs(brush, rng, (-0.66, -0.5, 0.5, 0.66), 0.95, 0.15, coat * 0.85)
    brush.path([(-0.8, 1.25), (-1.0, 1.1), (-1.0, 0.55)], 0.14, mane)
    brush.ellipse(0, 1.12, 0.86, 0.33, coat)
    graze = rng.random() < 0.3  # head down
    tip = np.array([1.35, 0.75] if graze else [1.15, 1.95])
    brush.poly([(0.45, 1.3), (0.8, 0.95), tip + (0.06, -0.12), tip + (-0.18, 0.08)], coat)
    brush.path([(0.5, 1.38), (tip + (0.5, 1.38)) / 2 + (-0.06, 0.06), tip + (-0.15, 0.1)], 0.12,
               mane)
    muzzle = tip + ((0.18, -0.5) if graze else (0.42, -0.3))
    brush.path([tip, muzzle], 0.22, coat)
    brush.ellipse(*muzzle, 0.12, 0.11, coat * 0.8)
    brush.poly([tip + (-0.1, 0.05), tip + (0.04, 0.08), tip + (-0.03, 0.28)], coat * 0.8)


def draw_cow(brush, rng):
    """A cow: deep square body with patches, short legs, horns, udder."""
    coat, patch = _coat(rng, value=(0.2, 0.98)), _coat(rng, value=(0.05, 0.9))
    _legs(brush, rng, (-0.75, -0.55, 0.55, 0.75), 0.65, 0.17, coat * 0.85)
    brush.path([(-0.95, 1.25), (-1.08, 1.0), (-1.05, 0.55)], 0.06, coat * 0.8)
    brush.poly([(-0.95, 0.7), (-0.8, 0.5), (0.75, 0.52), (0.95, 0.8), (0.9, 1.3), (-0.9, 1.35)],
               coat)
    _patches(brush, rng, (0, 0.95), (0.9, 0.4), patch, 6)
    y = pick(rng, 0.5, 1.15, 1.25)  # grazing or looking up
    brush.poly([(0.75, 1.3), (0.8, 0.8), (1.15, y - 0.05), (1.15, y + 0.25)], coat)
    for side in (-1, 1):
        brush.path([(1.15, y + 0.22), (1.15 + side * 0.22, y + 0.42)], 0.06, np.full(3, 200.0))
    brush.poly([(1.0, y + 0.27), (1.3, y + 0.27), (1.42, y - 0.22), (1.22, y - 0.28)], patch)
    brush.ellipse(1.33, y - 0.22, 0.13, 0.1, np.array([150., 160., 205.]))
    brush.ellipse(0.95, y + 0.17, 0.13, 0.06, coat * 0.7)


def draw_sheep(brush, rng):
    """A sheep: a woolly cloud on thin legs with a small dark or pale face."""
    wool = np.full(3, rng.uniform(120, 240)) - rng.uniform(0, 35, 3)
    face = pick(rng, np.full(3, 35.0), wool * 0.85)
    _legs(brush, rng, (-0.35, -0.24, 0.24, 0.36), 0.4, 0.07, face)
    turn = rng.uniform(0, 2 * np.pi, 46)
    reach = np.sqrt(rng.uniform(0, 1, 46))[:, None]
    points = np.stack([np.cos(turn) * 0.48, np.sin(turn) * 0.24], 1) * reach + (0, 0.58)
    brush.blobs(points, rng.uniform(0.08, 0.14, 46), wool * rng.uniform(0.8, 1.1, (46, 1)))
    y = pick(rng, 0.3, 0.75)
    brush.ellipse(0.6, y, 0.16, 0.11, face, angle=0.6)
    brush.ellipse(0.5, y + 0.06, 0.09, 0.04, face * 0.8)


def draw_bird(brush, rng):
    """A bird, perched or flying."""
    coat, wing = cloth(rng), cloth(rng)
    flying = rng.random() < 0.4
    if not flying:
        for x in (-0.02, 0.05):
            brush.path([(x, 0.14), (x + 0.02, 0)], 0.025, np.array([50., 120., 200.]))
    brush.poly([(-0.15, 0.22), (-0.5, 0.08), (-0.52, 0.2), (-0.12, 0.32)], wing)
    brush.ellipse(0, 0.26, 0.24, 0.13, coat, angle=0.35)
    brush.ellipse(0.2, 0.42, 0.1, 0.095, coat)
    brush.poly([(0.28, 0.46), (0.28, 0.39), (0.43, 0.41)], np.array([40., 150., 225.]))
    brush.ellipse(0.23, 0.44, 0.02, 0.02, BLACK)
    if flying:
        for tip, shade in (((-0.28, 0.85), 0.8), ((0.12, 0.9), 1.0)):
            brush.poly([(-0.14, 0.28), (0.12, 0.33), tip], wing * shade)
    else:
        brush.ellipse(-0.06, 0.26, 0.18, 0.08, wing, angle=0.35)


def draw_aeroplane(brush, rng):
    """An airliner from the side: tube, tail fin, swept wing, engine, windows."""
    hull, trim = paint(rng, saturation=(0, 0.3), value=(0.4, 1.0)), cloth(rng)
    brush.poly([(-1.0, 0.42), (-1.3, 0.95), (-1.1, 0.95), (-0.6, 0.48)], trim)
    brush.poly([(0.1, 0.35), (-0.45, 0.62), (-0.55, 0.62), (-0.2, 0.35)], hull * 0.7)
    brush.poly([(-1.25, 0.45), (-0.9, 0.2), (0.95, 0.17), (1.25, 0.25), (1.32, 0.32),
                (1.1, 0.44), (-0.9, 0.48)], hull)
    brush.poly([(0.25, 0.26), (-0.5, -0.1), (-0.65, -0.1), (-0.2, 0.28)], hull * 0.8)
    brush.ellipse(0.0, 0.08, 0.16, 0.07, trim * 0.8)
    brush.poly([(-1.05, 0.4), (-1.4, 0.52), (-1.48, 0.52), (-1.25, 0.38)], hull * 0.75)
    brush.rects([(x, 0.36, x + 0.05, 0.41) for x in np.linspace(-0.8, 0.9, 14)], BLACK * 2)
    brush.poly([(1.08, 0.42), (1.22, 0.36), (1.06, 0.35)], BLACK)
    brush.rect(-1.0, 0.27, 1.1, 0.3, trim)


def draw_boat(brush, rng):
    """A sailing boat or a motor boat."""
    hull, sail = cloth(rng), paint(rng, saturation=(0, 0.5), value=(0.5, 1.0))
    brush.poly([(-1.0, 0.4), (1.25, 0.48), (0.85, 0.0), (-0.8, 0.0)], hull)
    if rng.random() < 0.6:
        brush.path([(0.05, 0.4), (0.05, 2.2)], 0.05, BLACK * 3)
        brush.poly([(0.0, 0.55), (0.0, 2.1), (-0.85, 0.55)], sail)
        brush.poly([(0.1, 0.55), (0.1, 1.9), (1.05, 0.58)], sail * 0.88)
    else:
        brush.poly([(-0.7, 0.4), (0.5, 0.44), (0.25, 0.85), (-0.65, 0.85)], sail)
        brush.rects([(x, 0.55, x + 0.2, 0.75) for x in (-0.55, -0.25, 0.05)], BLACK * 2)
        brush.path([(-0.4, 0.85), (-0.4, 1.25)], 0.05, BLACK * 3)


def draw_bottle(brush, rng):
    """A bottle with neck, cap and label."""
    glass = paint(rng, saturation=(0.1, 0.8), value=(0.1, 0.8))
    brush.poly([(-0.04, 0), (0.04, 0), (0.045, 0.19), (0.016, 0.24), (0.016, 0.31),
                (-0.016, 0.31), (-0.016, 0.24), (-0.045, 0.19)], glass)
    brush.rect(-0.04, 0.05, 0.04, 0.14, paint(rng, saturation=(0, 0.6), value=(0.4, 1)))
    brush.rect(-0.02, 0.285, 0.02, 0.32, cloth(rng))
    brush.rect(-0.034, 0.02, -0.024, 0.18, np.clip(glass * 1.6 + 40, 0, 255))


def draw_chair(brush, rng):
    """A chair from the side with back and four legs."""
    wood, seat = cloth(rng), cloth(rng)
    for x in (-0.2, -0.1, 0.14, 0.22):
        brush.path([(x, 0.45), (x * 1.12, 0)], 0.045, wood * (0.8 if x in (-0.1, 0.14) else 1))
    brush.poly([(-0.25, 0.42), (0.22, 0.42), (0.26, 0.5), (-0.22, 0.5)], seat)
    for low, high in ((-0.22, -0.28), (-0.08, -0.12)):
        brush.path([(low, 0.45), (high, 0.98)], 0.05, wood * 0.95)
    brush.poly([(-0.27, 0.6), (-0.09, 0.6), (-0.12, 0.98), (-0.29, 0.98)], seat * 0.9)


def draw_diningtable(brush, rng):
    """A table with a cloth or bare top, plates on it."""
    wood, top = _coat(rng), cloth(rng)
    for x, low in ((-0.72, 0), (-0.6, 0.12), (0.6, 0.12), (0.72, 0)):
        brush.path([(x, 0.72), (x, low)], 0.07, wood * 0.8)
    brush.poly([(-0.85, 0.7), (0.85, 0.7), (0.66, 0.92), (-0.66, 0.92)], top)
    brush.rect(-0.85, 0.62, 0.85, 0.71, top * 0.8)
    for x in (-0.4, 0.05, 0.45):
        brush.ellipse(x, 0.81, 0.14, 0.045, np.full(3, 230.0))
        brush.ellipse(x, 0.81, 0.08, 0.025, cloth(rng))


def draw_sofa(brush, rng):
    """A sofa from the front: back, arms, two cushions."""
    main = cloth(rng)
    brush.rects([(x, 0, x + 0.06, 0.12) for x in (-0.8, 0.76)], BLACK)
    brush.rect(-0.85, 0.1, 0.85, 0.9, main * 0.85)
    brush.rects([(x, 0.5, x + 0.73, 0.86) for x in (-0.74, 0.01)], main)
    for x in (-0.74, 0.01):
        brush.rect(x, 0.3, x + 0.73, 0.52, np.clip(main * 1.15 + 8, 0, 255))
    brush.rect(-0.85, 0.1, 0.85, 0.28, main * 0.7)
    for x in (-1.0, 0.76):
        brush.rect(x, 0.08, x + 0.24, 0.66, main * 0.95)
        brush.ellipse(x + 0.12, 0.66, 0.13, 0.08, main * 1.08)
    if rng.random() < 0.6:
        brush.ellipse(pick(rng, -0.45, 0.4), 0.6, 0.18, 0.15, cloth(rng))


def draw_tvmonitor(brush, rng):
    """A screen on its stand; something may be on."""
    case = np.full(3, rng.uniform(15, 200))
    brush.poly([(-0.2, 0), (0.2, 0), (0.06, 0.06), (0.06, 0.16), (-0.06, 0.16), (-0.06, 0.06)],
               case * 0.8)
    brush.rect(-0.5, 0.14, 0.5, 0.76, case)
    brush.rect(-0.45, 0.2, 0.45, 0.71, paint(rng, value=(0.05, 0.7)))
    if rng.random() < 0.6:  # a programme is on
        left, right = rng.uniform(0.3, 0.5, 2)
        brush.poly([(-0.45, 0.2), (0.45, 0.2), (0.45, right), (-0.45, left)], cloth(rng))
        brush.ellipse(rng.uniform(-0.25, 0.25), 0.5, 0.09, 0.1, cloth(rng))


def draw_pottedplant(brush, rng):
    """A plant in a pot: a bush of leaves or long blades."""
    pot = paint(rng, hue=(0.0, 0.15), value=(0.3, 0.85))
    leaf = paint(rng, hue=(0.2, 0.42), saturation=(0.3, 0.8), value=(0.2, 0.7))
    if rng.random() < 0.5:
        brush.path([(0, 0.25), (0, 0.5)], 0.04, pot * 0.5)
        turn, reach = rng.uniform(0, 2 * np.pi, 40), np.sqrt(rng.uniform(0, 1, 40))
        points = np.stack([np.cos(turn), np.sin(turn)], 1) * 0.26 * reach[:, None] + (0, 0.62)
        brush.blobs(points, rng.uniform(0.04, 0.08, 40), leaf * rng.uniform(0.6, 1.3, (40, 1)))
    else:
        for tip in np.linspace(-0.42, 0.42, 9):
            high = 0.95 - abs(tip) * 0.9 + rng.uniform(-0.1, 0.1)
            brush.poly([(-0.03, 0.28), (0.03, 0.28), (tip * 0.6 + 0.05, high * 0.75),
                        (tip, high), (tip * 0.6 - 0.05, high * 0.7)], leaf * rng.uniform(0.6, 1.3))
    brush.poly([(-0.15, 0), (0.15, 0), (0.2, 0.3), (-0.2, 0.3)], pot)
    brush.rect(-0.22, 0.27, 0.22, 0.34, pot * 1.15)
