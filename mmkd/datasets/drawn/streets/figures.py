"""People, two-wheelers and street furniture, drawn flat with a ``Brush`` (metres, y up)."""
import numpy as np

from ..canvas import paint, pick

DARK, STEEL = np.full(3, 32.0), np.full(3, 130.0)


def cloth(rng):
    """Any colour clothes may have, mostly muted."""
    return paint(rng, saturation=(0.0, 0.8), value=(0.1, 0.9))


def skin(rng):
    """A skin tone."""
    return paint(rng, hue=(0.03, 0.09), saturation=(0.25, 0.55), value=(0.3, 0.95))


def draw_person(brush, rng, height=1.75):
    """Someone who stands or walks; some wear skirts, coats, hats or carry a bag."""
    unit = height / 1.75
    top, legs, face = cloth(rng), cloth(rng), skin(rng)
    stride, swing = rng.uniform(0.02, 0.32) * unit, rng.uniform(0.05, 0.3) * unit
    hip, neck = 0.88 * unit, 1.45 * unit

    def limb(points, width, colour):
        brush.path(points, width * unit, colour)

    limb([(0.06 * unit, hip), (stride * 0.6, 0.45 * unit), (stride, 0.03)], 0.15, legs)
    limb([(-0.06 * unit, hip), (-stride * 0.4, 0.45 * unit), (-stride, 0.03)], 0.15, legs * 0.85)
    for foot in (stride, -stride):
        brush.rect(foot - 0.09 * unit, 0, foot + 0.15 * unit, 0.08 * unit, DARK)
    limb([(0, neck - 0.05 * unit), (-swing - 0.1 * unit, hip + 0.22), (-swing, hip)], 0.11,
         top * 0.8)
    hem = pick(rng, hip, hip, hip - 0.1 * unit, 0.5 * unit)
    flare = 0.2 if hem > 0.7 * unit else 0.3
    brush.poly([(-0.23 * unit, neck), (0.23 * unit, neck), (0.2 * unit, hip),
                (flare * unit, hem), (-flare * unit, hem), (-0.2 * unit, hip)], top)
    limb([(0.05 * unit, neck - 0.05 * unit), (swing + 0.12 * unit, hip + 0.22), (swing, hip)],
         0.11, top * 1.1)
    brush.ellipse(swing, hip - 0.03, 0.06 * unit, 0.06 * unit, face)
    if rng.random() < 0.3:
        x = pick(rng, -0.33, 0.2) * unit
        brush.rect(x, 0.85 * unit, x + 0.16 * unit, 1.3 * unit, cloth(rng))
    _draw_head(brush, rng, 0, neck + 0.16 * unit, unit, face)


def _draw_head(brush, rng, x, y, unit, face, helmet=False):
    hair = paint(rng, hue=(0.03, 0.12), saturation=(0.1, 0.6), value=(0.05, 0.6))
    cap = cloth(rng) if helmet or rng.random() < 0.2 else hair
    brush.rect(x - 0.05 * unit, y - 0.2 * unit, x + 0.05 * unit, y, face)
    brush.ellipse(x, y, 0.11 * unit, 0.14 * unit, face)
    brush.ellipse(x - 0.01 * unit, y + 0.06 * unit, 0.125 * unit, 0.1 * unit, cap)


def _draw_wheel(brush, x, radius, tyre, spokes):
    brush.ellipse(x, radius, radius, radius, tyre)
    brush.ellipse(x, radius, radius * 0.8, radius * 0.8, spokes)
    brush.ellipse(x, radius, radius * 0.15, radius * 0.15, tyre)


def draw_bicycle(brush, rng):
    """A bicycle from the side, about 1.7 m long; a squashed brush turns it away."""
    frame, spokes = cloth(rng), paint(rng, saturation=(0, 0.3), value=(0.35, 0.75))
    for x in (-0.53, 0.53):
        _draw_wheel(brush, x, 0.33, DARK, spokes)
    brush.path([(-0.53, 0.33), (-0.12, 0.33), (0.38, 0.75), (-0.25, 0.75), (-0.12, 0.33)], 0.06,
               frame)
    brush.path([(-0.53, 0.33), (-0.25, 0.75), (-0.3, 0.9)], 0.05, frame)
    brush.path([(0.53, 0.33), (0.36, 0.95), (0.5, 1.0)], 0.05, frame * 0.8)
    brush.rect(-0.42, 0.88, -0.16, 0.95, DARK)
    brush.ellipse(-0.12, 0.33, 0.09, 0.09, STEEL)


def draw_motorcycle(brush, rng):
    """A motorcycle or scooter from the side: fat wheels, a solid body, a seat."""
    body = cloth(rng)
    for x in (-0.68, 0.68):
        _draw_wheel(brush, x, 0.32, np.full(3, 24.0), np.full(3, rng.uniform(60, 120)))
    brush.poly([(-0.4, 0.25), (0.3, 0.25), (0.42, 0.6), (-0.35, 0.65)], np.full(3, 70.0))
    if rng.random() < 0.5:  # scooter: a leg shield
        brush.poly([(-0.85, 0.45), (-0.2, 0.3), (0.3, 0.25), (0.45, 1.0), (0.3, 1.0),
                    (0.12, 0.42), (-0.3, 0.75), (-0.8, 0.75)], body)
    else:
        brush.poly([(-0.9, 0.78), (-0.3, 0.62), (0.35, 0.62), (0.5, 0.9), (0.1, 1.02),
                    (-0.25, 0.8), (-0.85, 0.9)], body)
    brush.rect(-0.75, 0.76, -0.1, 0.87, DARK)
    brush.path([(0.68, 0.32), (0.45, 1.05), (0.3, 1.12)], 0.09, STEEL)
    brush.ellipse(0.55, 0.88, 0.1, 0.11, np.array([215., 235., 240.]))
    brush.path([(-0.9, 0.3), (-0.1, 0.28)], 0.1, STEEL)


def draw_rider(brush, rng, seat, grip, foot):
    """Someone astride: from the ``seat`` to the handlebar ``grip``, a foot on the pedal."""
    top, legs, face = cloth(rng), cloth(rng), skin(rng)
    lean = rng.uniform(0.12, 0.3)
    hip, neck = np.array(seat), np.array([seat[0] + lean, seat[1] + 0.56])
    knee = np.array([(seat[0] + foot[0]) / 2 + 0.24, (seat[1] + foot[1]) / 2 + 0.08])
    brush.path([hip, knee, foot], 0.16, legs)
    brush.rect(foot[0] - 0.08, foot[1] - 0.06, foot[0] + 0.15, foot[1] + 0.04, DARK)
    brush.path([hip - (0, 0.04), (hip + neck) / 2, neck], 0.34, top)
    brush.path([neck - (0, 0.06), (neck + grip) / 2 - (0, 0.1), grip], 0.11, top * 1.12)
    _draw_head(brush, rng, neck[0] + 0.08, neck[1] + 0.17, 1.0, face, rng.random() < 0.6)


def draw_cyclist(brush, rng, bike_label):
    """A bicycle with its rider; the brush's label is the rider's."""
    rider, brush.label = brush.label, bike_label
    draw_bicycle(brush, rng)
    brush.label = rider
    draw_rider(brush, rng, (-0.28, 0.98), (0.45, 1.0), (-0.08, 0.22))


def draw_motorcyclist(brush, rng, bike_label):
    """A motorcycle with its rider; the brush's label is the rider's."""
    rider, brush.label = brush.label, bike_label
    draw_motorcycle(brush, rng)
    brush.label = rider
    draw_rider(brush, rng, (-0.3, 0.92), (0.35, 1.1), (0.02, 0.3))


def draw_lamp_post(brush, rng):
    """A street lamp with an arm; all of it counts as pole."""
    tall, colour = rng.uniform(4.5, 8), paint(rng, saturation=(0, 0.3), value=(0.15, 0.7))
    brush.path([(0, 0), (0, tall)], rng.uniform(0.12, 0.2), colour)
    brush.path([(0, 0), (0, 0.8)], 0.28, colour * 0.9)
    reach = rng.uniform(0.8, 2.0)
    brush.path([(0, tall), (reach, tall + 0.35)], 0.1, colour)
    brush.ellipse(reach, tall + 0.3, 0.4, 0.12, np.full(3, 200.0))


def draw_bollard(brush, rng):
    """A short post at the kerb."""
    colour = paint(rng, saturation=(0, 0.8), value=(0.1, 0.9))
    tall = rng.uniform(0.8, 1.2)
    brush.path([(0, 0), (0, tall)], 0.16, colour)
    brush.path([(0, tall * 0.7), (0, tall * 0.85)], 0.16, 255 - colour)


def draw_traffic_light(brush, rng, pole_label):
    """A signal head (the brush's label) on a pole, some with an arm over the road."""
    light, colour = brush.label, paint(rng, saturation=(0, 0.4), value=(0.15, 0.7))
    over = rng.random() < 0.35
    tall = 5.2 if over else rng.uniform(2.6, 3.4)
    brush.label = pole_label
    brush.path([(0, 0), (0, tall + 0.2)], 0.14, colour)
    places = [(0.0, tall - 0.4)]
    if over:
        brush.path([(0, tall), (3.2, tall + 0.2)], 0.12, colour)
        places = [(3.0, tall), (0.0, 2.6)]
    brush.label = light
    lit = int(rng.integers(3))
    case = pick(rng, DARK, np.array([45., 60., 40.]), np.array([40., 150., 190.]))
    colours = ([50., 50., 235.], [40., 190., 240.], [120., 220., 60.])
    back = rng.random() < 0.2
    for x, y in places:
        brush.rect(x - 0.22, y - 0.5, x + 0.22, y + 0.5, case)
        for i in range(0 if back else 3):
            shade = np.array(colours[i]) if i == lit else np.array(colours[i]) * 0.25
            brush.ellipse(x, y + 0.31 * (1 - i), 0.13, 0.13, shade)


def draw_sign(brush, rng, pole_label):
    """A traffic sign (the brush's label) on its pole, from the front or from behind."""
    sign, high, size = brush.label, rng.uniform(2.0, 2.9), rng.uniform(0.36, 0.5)
    brush.label = pole_label
    brush.path([(0, 0), (0, high)], 0.09, paint(rng, saturation=(0, 0.2), value=(0.3, 0.75)))
    brush.label = sign
    red, blue, white = np.array([40., 35., 200.]), np.array([170., 80., 30.]), np.full(3, 235.)
    kind = pick(rng, 'ban', 'ban', 'warn', 'must', 'info', 'stop', 'way', 'back')
    turn = np.linspace(0, 2 * np.pi, 9)[:-1] + np.pi / 8
    if kind in ('ban', 'must', 'back'):
        rim = dict(ban=red, must=blue, back=np.full(3, 140.0))[kind]
        brush.ellipse(0, high, size, size, rim)
        if kind == 'ban':
            brush.ellipse(0, high, size * 0.72, size * 0.72, white)
            brush.rect(-size * 0.35, high - size * 0.3, size * 0.3, high + size * 0.3, DARK)
        elif kind == 'must':
            brush.poly([(-size * 0.4, high - 0.05), (size * 0.1, high - size * 0.4),
                        (size * 0.5, high), (size * 0.1, high + size * 0.4)], white)
    elif kind == 'warn':
        for k, colour in ((1.15, red), (0.72, white)):
            brush.poly([(-size * k, high - size * k * 0.7), (size * k, high - size * k * 0.7),
                        (0, high + size * k * 1.05)], colour)
        brush.rect(-0.05, high - 0.15, 0.05, high + 0.15, DARK)
    elif kind == 'stop':
        brush.poly(np.stack([np.cos(turn), np.sin(turn)], 1) * size + (0, high), red)
        brush.rect(-size * 0.6, high - 0.08, size * 0.6, high + 0.08, white)
    elif kind == 'way':
        diamond = np.array([(0, -1), (1, 0), (0, 1), (-1, 0)])
        brush.poly(diamond * size * 1.15 + (0, high), white)
        brush.poly(diamond * size * 0.8 + (0, high), np.array([30., 190., 235.]))
    else:
        wide = size * pick(rng, 0.9, 1.8, 2.6)
        brush.rect(-wide, high - size * 0.8, wide, high + size * 0.8, pick(rng, blue, white))
        brush.rect(-wide * 0.6, high - size * 0.3, wide * 0.6, high + size * 0.3,
                   pick(rng, white * 0.95, DARK))
