"""Vehicles: solid ones along the street, flat ones seen from the side."""
import numpy as np

from ..canvas import paint, pick
from .world import BUS, CAR, TRAIN, TRUCK

RED, LAMP = np.array([40., 40., 210.]), np.array([225., 240., 245.])
RUBBER = np.array([28., 26., 26.])
VEHICLE_LABELS = dict(car=CAR, truck=TRUCK, bus=BUS, train=TRAIN)


def body_colour(rng):
    """Any colour a vehicle may have; often grey, white or black."""
    if rng.random() < 0.45:
        return np.full(3, rng.uniform(25, 245)) + rng.uniform(-8, 8, 3)
    return paint(rng, saturation=(0.2, 0.9), value=(0.2, 0.95))


def _glass(rng):
    return paint(rng, hue=(0.5, 0.7), saturation=(0, 0.4), value=(0.08, 0.55))


def _wheels(world, x, width, axles, radius):
    """Wheels on the side that can be seen, and the tyres under the near end."""
    near = min(axles) - radius
    shift = world.bend * near * near
    for side in (-1, 1):
        if (x + shift) * side < -width / 2:
            for z in axles:
                world.disc(x + side * (width / 2 + 0.01), radius, z, radius, RUBBER)
                world.disc(x + side * (width / 2 + 0.02), radius, z, radius * 0.55,
                           np.full(3, 120.0))


def _tyres(world, x, z, width, top, label):
    for side in (-1, 1):
        a, b = x + side * width * 0.48, x + side * width * 0.33
        world.poly([(a, 0, z), (b, 0, z), (b, top, z), (a, top, z)], RUBBER, label)


def _lamps(world, face, v0, v1, away):
    colour = RED if away else LAMP
    world.on_face(face, [(0.03, v0, 0.2, v1), (0.8, v0, 0.97, v1)], colour)


def _under(world, x, z, width, length, top, label):
    """Dark space between the wheels; also the first coat of the label."""
    world.shadow(x, z + length / 2, width * 1.25, length * 1.15)
    world.solid(x, (0.12, z + 0.1, z + length - 0.3, width * 0.94),
                (top, z + 0.1, z + length - 0.3, width * 0.94), np.full(3, 22.0), label)


def draw_car(world, x, z, away):
    """A hatchback, saloon, estate or van that drives along the street."""
    rng = world.rng
    colour, glass = body_colour(rng), _glass(rng)
    kind = pick(rng, 'saloon', 'hatch', 'estate', 'van')
    length = rng.uniform(3.7, 4.8)
    roof = rng.uniform(1.8, 2.1) if kind == 'van' else rng.uniform(1.35, 1.65)
    waist, width = roof * 0.58, rng.uniform(1.65, 1.85)
    rear, front = dict(saloon=(1.0, 1.6), hatch=(0.1, 1.3), estate=(0.05, 1.2),
                       van=(0.05, 0.8))[kind]
    near, far = (rear, front) if away else (front, rear)
    slope_near, slope_far = min(0.7, near * 0.5 + 0.12), min(0.7, far * 0.5 + 0.12)
    _under(world, x, z, width, length, 0.35, CAR)
    _tyres(world, x, z + 0.12, width, 0.4, CAR)
    body = world.solid(x, (0.22, z, z + length, width * 0.97),
                       (waist, z + 0.05, z + length - 0.05, width), colour, CAR)
    _wheels(world, x, width, (z + length * 0.2, z + length * 0.8), 0.32)
    cabin = world.solid(
        x, (waist, z + near, z + length - far, width * 0.94),
        (roof, z + near + slope_near, z + length - far - slope_far, width * 0.74), colour, CAR)
    if 'side' in cabin:
        world.on_face(cabin['side'], [(0.08, 0.12, 0.46, 0.88), (0.52, 0.12, 0.92, 0.88)], glass)
    world.on_face(cabin['near'], [(0.08, 0.08, 0.92, 0.88)], glass, 1.15)
    _lamps(world, body['near'], 0.55, 0.85, away)
    world.on_face(body['near'], [(0.36, 0.3, 0.64, 0.5)], np.full(3, 215.0))
    world.on_face(body['near'], [(0.0, 0.05, 1.0, 0.16)], colour * 0.5)
    if not away:
        world.on_face(body['near'], [(0.25, 0.6, 0.75, 0.82)], np.full(3, 30.0))


def draw_truck(world, x, z, away):
    """A lorry with a cab and a box, tarpaulin or flat bed."""
    rng = world.rng
    cab, load, glass = body_colour(rng), body_colour(rng), _glass(rng)
    width, length = rng.uniform(2.2, 2.5), rng.uniform(5.5, 9.0)
    top, cab_top = rng.uniform(2.7, 3.6), rng.uniform(2.2, 2.7)
    flat = rng.random() < 0.25
    bed = (z, z + length - 1.9) if away else (z + 1.9, z + length)
    seat = (z + length - 1.8, z + length) if away else (z, z + 1.8)
    _under(world, x, z, width, length, 0.9, TRUCK)
    _tyres(world, x, z + 0.1, width, 0.75, TRUCK)

    def draw_cab():
        low, high = (0.55, *seat, width * 0.95), (cab_top, seat[0] + 0.1, seat[1], width * 0.9)
        faces = world.solid(x, low, high, cab, TRUCK)
        if 'side' in faces:
            world.on_face(faces['side'], [(0.2, 0.5, 0.8, 0.88)], glass)
        if not away:
            world.on_face(faces['near'], [(0.06, 0.5, 0.94, 0.88)], glass)
            world.on_face(faces['near'], [(0.25, 0.18, 0.75, 0.4)], cab * 0.5)
            _lamps(world, faces['near'], 0.06, 0.16, False)

    def draw_load():
        height = 1.5 if flat else top
        low, high = (0.85, *bed, width), (height, *bed, width)
        faces = world.solid(x, low, high, load, TRUCK)
        for name in ('side', 'near'):
            if name in faces:
                ribs = np.linspace(0, 1, 9 if name == 'side' else 3)[1:-1]
                world.on_face(faces[name], [(u, 0, u + 0.015, 1) for u in ribs], load * 0.75)
        if not flat and rng.random() < 0.5 and 'side' in faces:
            world.on_face(faces['side'], [(0.2, 0.35, 0.8, 0.7)], paint(rng))
        if away:
            _lamps(world, faces['near'], 0.0, 0.07, True)

    for part in (draw_cab, draw_load) if away else (draw_load, draw_cab):
        part()
    _wheels(world, x, width, (z + 1.0, z + length * 0.7, z + length - 1.0), 0.48)


def draw_bus(world, x, z, away):
    """A city bus: one tall box, a band of windows, doors and a number."""
    rng = world.rng
    colour, glass = body_colour(rng), _glass(rng)
    width, length, top = 2.5, rng.uniform(9, 13), rng.uniform(2.8, 3.3)
    if rng.random() < 0.15:
        top = 4.2  # double-decker
    _under(world, x, z, width, length, 0.6, BUS)
    _tyres(world, x, z + 0.1, width, 0.5, BUS)
    faces = world.solid(x, (0.3, z, z + length, width), (top, z + 0.1, z + length, width * 0.96),
                        colour, BUS)
    bands = [(0.48, 0.86)] if top < 4 else [(0.3, 0.5), (0.64, 0.86)]
    if 'side' in faces:
        edges = np.linspace(0.03, 0.98, 8)
        for v0, v1 in bands:
            panes = [(a, v0, b - 0.02, v1) for a, b in zip(edges[:-1], edges[1:], strict=True)]
            world.on_face(faces['side'], panes, glass)
        world.on_face(faces['side'], [(0, 0.1, 1, 0.26)], paint(rng))
        door = (0.02, 0.04, 0.1, 0.8) if not away else (0.86, 0.04, 0.94, 0.8)
        world.on_face(faces['side'], [door], glass * 0.8)
    _wheels(world, x, width, (z + 2.2, z + length - 2.4), 0.5)
    near = faces['near']
    for v0, v1 in bands:
        world.on_face(near, [(0.06, v0 - (0.06 if not away else 0), 0.94, v1)], glass)
    world.on_face(near, [(0.2, 0.88, 0.8, 0.97)], np.full(3, 25.0))
    world.on_face(near, [(0.3, 0.9, 0.7, 0.95)], np.array([40., 170., 240.]))
    _lamps(world, near, 0.1, 0.17, away)


def draw_train(world, x, z, away):
    """A tram: long, high, on rails, skirts over its wheels, a bow on its roof."""
    rng = world.rng
    colour, glass = body_colour(rng), _glass(rng)
    width, length, top = 2.4, rng.uniform(18, 32), rng.uniform(3.1, 3.5)
    world.shadow(x, z + length / 2, width * 1.2, length * 1.05)
    bow = world.brush(x, z + 5, TRAIN)
    bow.path([(-0.5, top), (0.35, top + 0.7), (-0.3, top + 1.4)], 0.08, np.full(3, 40.0))
    bow.path([(-0.8, top + 1.4), (0.8, top + 1.4)], 0.08, np.full(3, 40.0))
    for start in (z + length / 2, z):  # two cars with a gap between them
        faces = world.solid(x, (0.12, start, start + length / 2 - 0.5, width),
                            (top, start + 0.35, start + length / 2 - 0.5, width * 0.86),
                            colour, TRAIN)
        if 'side' in faces:
            edges = np.linspace(0.04, 0.98, 8)
            panes = [(a, 0.42, b - 0.025, 0.8)
                     for a, b in zip(edges[:-1], edges[1:], strict=True)]
            world.on_face(faces['side'], panes, glass)
            world.on_face(faces['side'], [(0.3, 0.06, 0.38, 0.82), (0.62, 0.06, 0.7, 0.82)],
                          colour * 0.6)
            world.on_face(faces['side'], [(0, 0.28, 1, 0.36)], paint(rng))
    near = faces['near']
    world.on_face(near, [(0.12, 0.42, 0.88, 0.84)], glass)
    world.on_face(near, [(0.3, 0.88, 0.7, 0.96)], np.array([40., 170., 240.]))
    world.on_face(near, [(0.46, 0.3, 0.54, 0.36)], LAMP)
    _lamps(world, near, 0.14, 0.2, away)


def draw_side_view(brush, rng, kind):
    """A vehicle from the side, driving across; its foot point is under its middle."""
    colour, glass = body_colour(rng), _glass(rng)
    if kind == 'car':
        _side_car(brush, rng, colour, glass)
    elif kind == 'truck':
        load, long, top = body_colour(rng), rng.uniform(2.5, 3.6), rng.uniform(2.6, 3.4)
        brush.rect(-long, 0.5, long, 0.85, np.full(3, 30.0))
        brush.rect(-long, 0.85, long - 2.1, top, load)
        brush.rects([(a, 0.85, a + 0.06, top) for a in np.linspace(-long, long - 2.2, 6)],
                    load * 0.75)
        brush.poly([(long - 1.9, 0.45), (long, 0.45), (long, 1.5), (long - 0.3, 2.4),
                    (long - 1.9, 2.4)], colour)
        brush.poly([(long - 1.2, 1.45), (long - 0.12, 1.45), (long - 0.4, 2.2),
                    (long - 1.2, 2.2)], glass)
        _side_wheels(brush, (-long + 0.9, -long + 2.0, long - 0.9), 0.48)
    else:
        long, top = (5.5, 3.0) if kind == 'bus' else (9.0, 3.4)
        floor = 0.35 if kind == 'bus' else 0.2
        slant = 0.1 if kind == 'bus' else 0.7
        brush.poly([(-long, floor), (long, floor), (long, 1.3), (long - slant, top),
                    (-long, top)], colour)
        edges = np.linspace(-long + 0.2, long - 1.6, 9)
        brush.rects([(a, 1.5, b - 0.15, top - 0.5)
                     for a, b in zip(edges[:-1], edges[1:], strict=True)], glass)
        brush.poly([(long - 1.5, 1.4), (long - 0.05, 1.4), (long - slant * 0.75, top - 0.5),
                    (long - 1.5, top - 0.5)], glass)
        brush.rect(-long, 0.9, long - 0.1, 1.15, paint(rng))
        brush.rects([(a, floor + 0.1, a + 1.0, top - 0.45) for a in (-long * 0.4, long * 0.35)],
                    colour * 0.6)
        if kind == 'bus':
            _side_wheels(brush, (-long + 2.4, long - 2.0), 0.5)
        else:
            brush.rects([(a, 0, a + 2.0, 0.3) for a in (-long + 1, -1, long - 3)],
                        np.full(3, 30.0))


def _side_wheels(brush, places, radius):
    for x in places:
        brush.ellipse(x, radius, radius, radius, RUBBER)
        brush.ellipse(x, radius, radius * 0.55, radius * 0.55, np.full(3, 130.0))


def _side_car(brush, rng, colour, glass):
    back = rng.uniform(-1.95, -1.2)  # from estate to saloon
    brush.poly([(-2.1, 0.25), (2.15, 0.25), (2.2, 0.7), (1.1, 0.9), (-2.1, 0.92), (-2.2, 0.6)],
               colour)
    brush.poly([(back, 0.88), (1.15, 0.88), (0.45, 1.45), (back + 0.4, 1.45)], colour)
    brush.poly([(back + 0.15, 0.92), (-0.2, 0.92), (-0.2, 1.37), (back + 0.45, 1.37)], glass)
    brush.poly([(-0.1, 0.92), (1.0, 0.92), (0.42, 1.37), (-0.1, 1.37)], glass)
    brush.rect(-2.18, 0.6, -2.0, 0.78, RED)
    brush.rect(2.0, 0.6, 2.17, 0.76, LAMP)
    brush.rect(-0.17, 0.3, -0.14, 0.9, colour * 0.7)
    _side_wheels(brush, (-1.35, 1.35), 0.33)
