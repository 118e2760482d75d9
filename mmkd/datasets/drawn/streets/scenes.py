"""Random street scenes with exact Cityscapes labels, drawn with numpy and OpenCV.

A scene is laid out in metres in front of a pinhole camera and painted from far to near, so the
labels know about occlusion. Colours are drawn from ranges that overlap between the classes
(a wall may be painted like a house, a car like the road): what something is shows in its shape,
its texture and its place, as in photographs.
"""
import numpy as np

from ..camera import check_size, develop
from ..canvas import SCALE, paint, pick
from . import figures, vehicles
from . import surroundings as around
from .world import (
    BICYCLE,
    IGNORE,
    MOTORCYCLE,
    PERSON,
    POLE,
    RIDER,
    SIDEWALK,
    TERRAIN,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    World,
)


def draw_street_scene(rng, width=256, height=128):
    """One street scene.

    Args:
        rng (numpy.random.Generator): source of every choice.
        width (int): picture width in pixels.
        height (int): picture height in pixels.

    Returns:
        tuple: image uint8 (H, W, 3) BGR and labels uint8 (H, W): Cityscapes train ids 0..18 and
        255 where nothing counts.

    Raises:
        ValueError: if the picture is too small to show anything.
    """
    check_size(width, height)
    world = World(rng, width, height)
    plan = _plan_street(rng)
    around.draw_sky(world)
    around.draw_ground(world, plan)
    for side in (-1, 1):
        _draw_side(world, plan, side)
    for _, draw in sorted(_things(world, plan), key=lambda thing: -thing[0]):
        draw()
    _draw_own_car(world)
    image, labels = world.canvas.finish()
    return develop(rng, image), labels


def _plan_street(rng):
    """Widths, surfaces and lanes of the street."""
    lanes = [0] * int(rng.integers(1, 4))
    road = rng.uniform(2.7, 3.4) * (len(lanes) + 1) / 2
    grey = np.full(3, rng.uniform(55, 150))
    return dict(
        road=road, lanes=lanes, sidewalk=rng.uniform(1.8, 4.5),
        asphalt=grey + rng.uniform(-12, 12, 3),
        paving=np.full(3, rng.uniform(70, 185)) + rng.uniform(-22, 22, 3),
        grass=paint(rng, hue=(0.1, 0.36), saturation=(0.15, 0.6), value=(0.25, 0.65)),
        verge={side: TERRAIN if rng.random() < 0.55 else SIDEWALK for side in (-1, 1)},
        rails=rng.uniform(-0.6, 0.5) * road if rng.random() < 0.25 else None)


def _draw_side(world, plan, side):
    """Everything along one side of the street, far to near."""
    rng = world.rng
    green = plan['verge'][side] == TERRAIN
    weights = np.array([3.5, 1.8, 2.2, 2.2] if green else [7, 0.7, 2.0, 1.6])
    z1 = rng.uniform(70, 130)
    edge = plan['road'] + plan['sidewalk']
    while z1 > 5:
        z0 = max(3.0, z1 - rng.uniform(7, 26))
        kind = int(np.searchsorted(np.cumsum(weights / weights.sum()), rng.random()))
        x = side * (edge + rng.uniform(0, 6 if green else 1.5))
        if kind != 0 and rng.random() < 0.7:  # houses or trees show over what is low
            if rng.random() < 0.5:
                around.draw_building(world, side, x + side * rng.uniform(4, 12), z0, z1)
            for z in np.sort(rng.uniform(z0, z1, 2))[::-1]:
                around.draw_tree(world, x + side * rng.uniform(2, 4), z)
        (around.draw_building, around.draw_hedge, around.draw_wall, around.draw_fence)[
            min(kind, 3)](world, side, x, z0, z1)
        z1 = z0 - (rng.uniform(0, 4) if rng.random() < 0.4 else 0.01)
    for z in np.sort(np.exp(rng.uniform(np.log(9), np.log(80), int(rng.integers(0, 5)))))[::-1]:
        around.draw_tree(world, side * (edge - rng.uniform(-2 if green else 0.2, 0.9)), z)


def _depth(rng, near, far):
    return float(np.exp(rng.uniform(np.log(near), np.log(far))))


def _things(world, plan):
    """Vehicles, people and furniture as (depth, draw) pairs."""
    things = _traffic(world, plan) + _parked(world, plan) + _furniture(world, plan)
    rng, road, edge = world.rng, plan['road'], plan['road'] + plan['sidewalk']

    def add(x, z, label, draw, *args, **kwargs):
        brush = dict(flip=pick(rng, -1, 1), squash=rng.uniform(0.75, 1.0), **kwargs)

        def paint_it():
            world.shadow(x, z, 0.9, 0.6, 0.3)
            draw(world.brush(x, z, label, **brush), rng, *args)
        things.append((z, paint_it))

    for _ in range(int(rng.integers(0, 7))):
        side = pick(rng, -1, 1)
        crossing = rng.random() < 0.2
        x = rng.uniform(-road, road) if crossing else side * rng.uniform(road + 0.4, edge)
        z = _depth(rng, 7, 45)
        for i in range(pick(rng, 1, 1, 2, 3)):  # alone or in a group
            height = rng.uniform(1.05, 1.35) if rng.random() < 0.12 else rng.uniform(1.55, 1.9)
            add(x + 0.65 * i, z + rng.uniform(-0.3, 0.3), PERSON, figures.draw_person, height)
    for _ in range(pick(rng, 0, 1, 1, 1, 2)):
        add(rng.uniform(-road, road), _depth(rng, 6, 22), RIDER, figures.draw_cyclist, BICYCLE)
    if rng.random() < 0.45:
        add(rng.uniform(-road, road), _depth(rng, 6, 20), RIDER, figures.draw_motorcyclist,
            MOTORCYCLE)
    for _ in range(pick(rng, 0, 0, 1, 3)):
        add(pick(rng, -1, 1) * rng.uniform(road + 0.5, edge), _depth(rng, 6, 24), BICYCLE,
            figures.draw_bicycle)
    if rng.random() < 0.45:
        add(pick(rng, -1, 1) * rng.uniform(road - 1, edge), _depth(rng, 5, 16), MOTORCYCLE,
            figures.draw_motorcycle)
    return things


def _traffic(world, plan):
    """Vehicles in the lanes; now and then one that crosses."""
    rng, things = world.rng, []
    solid = dict(car=vehicles.draw_car, truck=vehicles.draw_truck, bus=vehicles.draw_bus,
                 train=vehicles.draw_train)
    count = len(plan['lanes']) + 1
    centres = -plan['road'] + 2 * plan['road'] * (np.arange(count) + 0.5) / count
    for x in centres:
        away = bool(x > 0)
        z = _depth(rng, 7, 30)
        while z < 90:
            kind = pick(rng, 'car', 'car', 'car', 'car', 'truck', 'bus')
            if rng.random() < 0.75:
                where = x + rng.uniform(-0.3, 0.3)
                things.append((z, lambda k=kind, a=where, b=z, c=away: solid[k](world, a, b, c)))
            z += dict(car=9, truck=14, bus=18)[kind] * rng.uniform(1, 3)
    if plan['rails'] is not None:
        z, x, away = _depth(rng, 9, 35), plan['rails'], bool(rng.random() < 0.5)
        things = [thing for thing in things if not z - 6 < thing[0] < z + 40]
        things.append((z, lambda: solid['train'](world, x, z, away)))
    if rng.random() < 0.22:
        kind, z = pick(rng, 'car', 'car', 'truck', 'bus', 'train'), _depth(rng, 14, 40)
        label, flip = vehicles.VEHICLE_LABELS[kind], pick(rng, -1, 1)
        x = rng.uniform(-0.35, 0.35) * z

        def cross():
            world.shadow(x, z, 4 if kind == 'car' else 11, 1.5)
            vehicles.draw_side_view(world.brush(x, z, label, flip=flip), rng, kind)
        things.append((z, cross))
    return things


def _parked(world, plan):
    """A row of parked cars at the kerb."""
    rng, things = world.rng, []
    for side in (-1, 1):
        if rng.random() < 0.45:
            z = rng.uniform(6, 20)
            while z < 60:
                if rng.random() < 0.8:
                    draw = vehicles.draw_truck if rng.random() < 0.08 else vehicles.draw_car
                    x, away = side * (plan['road'] + 0.3), side > 0
                    things.append((z, lambda d=draw, a=x, b=z, c=away: d(world, a, b, c)))
                z += rng.uniform(5.6, 9)
    return things


def _furniture(world, plan):
    """Lamp posts, signals, signs and bollards along the kerb."""
    rng, things = world.rng, []

    def add(z, label, draw, *args):
        side = pick(rng, -1, 1)
        x = side * (plan['road'] + rng.uniform(0.35, 0.9))
        things.append((z, lambda: draw(world.brush(x, z, label, flip=-side), rng, *args)))

    for _ in range(int(rng.integers(1, 5))):
        add(_depth(rng, 7, 60), POLE, figures.draw_lamp_post)
    for _ in range(int(rng.integers(0, 4))):
        add(_depth(rng, 7, 30), TRAFFIC_LIGHT, figures.draw_traffic_light, POLE)
    for _ in range(int(rng.integers(1, 5))):
        add(_depth(rng, 6, 30), TRAFFIC_SIGN, figures.draw_sign, POLE)
    for _ in range(pick(rng, 0, 0, 4, 8)):
        add(_depth(rng, 5, 25), POLE, figures.draw_bollard)
    return things


def _draw_own_car(world):
    """The bonnet of the camera's own car and unmapped borders: labelled 255."""
    rng, canvas = world.rng, world.canvas
    width, height = canvas.width, canvas.height
    if rng.random() < 0.6:
        colour, rise = vehicles.body_colour(rng), rng.uniform(0.05, 0.12) * height
        canvas.ellipse((width / 2, height * 1.1), (width * 0.62, rise + height * 0.1), colour,
                       IGNORE)
        canvas.ellipse((width * 0.4, height * 1.12), (width * 0.3, rise + height * 0.08),
                       np.clip(colour * 1.2 + 15, 0, 255), None, 0.5)
    if rng.random() < 0.3:
        edge = max(1, round(width * rng.uniform(0.005, 0.02))) * SCALE
        canvas.labels[:, :edge] = canvas.labels[:, -edge:] = IGNORE
        canvas.image[:, :edge] = canvas.image[:, -edge:] = 0
