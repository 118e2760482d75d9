"""Fills a road with traffic, parked vehicles, people, road works, houses and trees."""
import numpy as np

from ..canvas import pick
from . import shapes
from .road import HOUSES, KERB, ROAD, Road, path, travelled
from .world import Thing, World

CLASSES = ('car', 'truck', 'trailer', 'bus', 'construction_vehicle', 'bicycle', 'motorcycle',
           'pedestrian', 'traffic_cone', 'barrier')
LANES = (-5.1, -1.75, 1.75, 5.1)  # metres left of the road's middle; traffic keeps to the right
SIGHT = 70.  # metres of the world around the car that are filled
#: what drives, and what stands at the kerb, and how often
TRAFFIC = dict(car=0.58, truck=0.13, bus=0.09, motorcycle=0.11, trailer=0.05,
               construction_vehicle=0.04)
PARKED = dict(car=0.46, truck=0.07, bus=0.05, trailer=0.07, construction_vehicle=0.06,
              bicycle=0.08, motorcycle=0.08, traffic_cone=0.05, barrier=0.08)


def make_world(rng, seconds):
    """A scene's world, through which the car with the sensors can drive for ``seconds``.

    Args:
        rng (numpy.random.Generator): source of every choice.
        seconds (float): how long the scene lasts.
    """
    ego = path(0., LANES[1], rng.uniform(10., 14.), pulse=rng.uniform(0., 0.15),
               pulse_time=rng.uniform(12., 20.), pulse_phase=rng.uniform(0, 6), sway=0.15)
    end = float(travelled(ego, seconds)[0])
    road = Road(rng, -SIGHT - 30., end + SIGHT + 30.)
    things = [*_traffic(rng, ego, seconds), *_people(rng, end), *_kerbsides(rng, road, end),
              *_surroundings(rng, end)]
    height, side = rng.uniform([0.5, -np.pi], [1.1, np.pi])
    sun = np.array([np.cos(side) * np.cos(height), np.sin(side) * np.cos(height), np.sin(height)])
    return World(road, things, ego, sun)


def make_thing(rng, name, place, left, rider=False, **rest):
    """One thing of a class, on a path that starts at ``place``."""
    make = getattr(shapes, name)
    solids = make(rng, rider) if name in ('bicycle', 'motorcycle') else make(rng)
    return Thing(name, solids, path(place, left, **rest), rider)


def _length(thing):
    return thing.size[1]


def _drawn(rng, shares):
    return rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values()))


def _traffic(rng, ego, seconds):
    """Vehicles in four lanes and cyclists at both edges; those of a lane share a speed, so that
    none runs into another."""
    end = float(travelled(ego, seconds)[0])
    things = []
    for index, left in enumerate([*LANES, -7.3, 7.3]):
        forward = left < 0
        pulse = dict(pulse=rng.uniform(0.05, 0.2), pulse_time=rng.uniform(12., 20.),
                     pulse_phase=rng.uniform(0, 6))
        if index == 1:  # behind and in front of the car with the sensors
            speed, pulse = ego['speed'], {key: ego[key] for key in pulse}
        elif index >= 4:
            speed = rng.uniform(3., 6.)
        else:
            speed = rng.uniform(8., 14.)
            if index == 3:  # stop and go
                speed, pulse['pulse'] = speed / 2, 1.
        lane = path(0., left, speed if forward else -speed, **pulse)
        gone = float(travelled(lane, seconds)[0])
        first, last = -SIGHT + min(0., -gone), end + SIGHT - min(0., gone)
        place = first + rng.uniform(0, 10)
        while place < last:
            name = 'bicycle' if index >= 4 else str(_drawn(rng, TRAFFIC))
            sway = dict(sway=rng.uniform(0.05, 0.2), sway_length=rng.uniform(30, 60),
                        sway_phase=rng.random())
            thing = make_thing(rng, name, 0., left, True, speed=lane['speed'], **pulse, **sway)
            thing.path['place'] = place + _length(thing) / 2
            place += _length(thing)
            if index != 1 or place < -6 or place - _length(thing) > 8:
                things.append(thing)
            place += rng.uniform(15., 60.) if index >= 4 else rng.uniform(6., 22.)
    return things


def _people(rng, end):
    """Pedestrians: rows of walkers of one speed, and some who stand."""
    things = []
    for side in (-1, 1):
        for left, forward in ((KERB + 1.2, True), (KERB + 2.6, False)):
            speed = rng.uniform(1., 1.7) * (1 if forward == (side < 0) else -1)
            place = -SIGHT + rng.uniform(0, 10)
            while place < end + SIGHT:
                things.append(make_thing(
                    rng, 'pedestrian', place, side * left, speed=speed, sway=0.3,
                    sway_length=rng.uniform(10, 20), sway_phase=rng.random()))
                place += pick(rng, 1.3, rng.uniform(8, 45), rng.uniform(8, 45))
        for place in np.arange(-SIGHT, end + SIGHT, 28.):
            things.append(make_thing(
                rng, 'pedestrian', place + rng.uniform(0, 20), side * rng.uniform(
                    KERB + 3.4, HOUSES - 0.5), turn=rng.uniform(-np.pi, np.pi)))
    return things


def _kerbsides(rng, road, end):
    """What stands between the lanes and the kerb; near the start there is each class once."""
    needed = [str(name) for name in rng.permutation([n for n in CLASSES if n != 'pedestrian'])]
    things = []
    for side, first in ((-1, needed[::2]), (1, needed[1::2])):
        queue = list(first)
        place, limit = -12. - rng.uniform(0, 6), end + SIGHT
        while place < limit:
            name = queue.pop() if queue else str(_drawn(rng, PARKED))
            row, place = _row(rng, road, name, side, place)
            things += row
            place += rng.uniform(1., 2.) if queue else pick(rng, 0.8, rng.uniform(2, 9))
        place = -SIGHT
        while True:
            row, place = _row(rng, road, str(_drawn(rng, PARKED)), side, place)
            if place > -19.:
                break
            things += row
            place += rng.uniform(1., 12.)
    return things


def _row(rng, road, name, side, place):
    """One vehicle or a few small things of a kind, from ``place`` on, on one side of the road; and
    where they end."""
    back = pick(rng, 0., np.pi)
    if name in ('traffic_cone', 'barrier'):
        count, gap = int(rng.integers(3, 6)), rng.uniform(1., 2.) if name == 'traffic_cone' else 0.4
        lefts = rng.uniform(ROAD + 0.6, ROAD + 2.5) + np.cumsum(rng.uniform(-0.3, 0.3, count))
        turn = back + (side * np.pi / 2 if name == 'barrier' else 0.) + rng.uniform(-0.2, 0.2)
        turns = np.full(count, turn)
    elif name in ('bicycle', 'motorcycle'):
        count, gap = int(rng.integers(1, 4)), 0.4
        lefts = KERB - rng.uniform(1.3, 2.5, count)
        turns = back + np.pi / 2 + rng.uniform(-0.3, 0.3, count)
    else:
        count, gap, lefts = 1, 0., [None]
        turns = [back + _slant(rng, name)]
    row = []
    for left, turn in zip(lefts, turns, strict=True):
        thing = make_thing(rng, name, 0., 0., turn=float(turn))
        width, length = thing.size[:2]
        along = (abs(np.cos(turn)) * length + abs(np.sin(turn)) * width) / 2
        if left is None:  # as near to the lane as it may be
            depth = (abs(np.sin(turn)) * length + abs(np.cos(turn)) * width) / 2
            left = ROAD + 0.3 + depth + rng.uniform(0, 0.4)
        along *= road.stretch(place, side * left)
        thing.path.update(place=place + along, left=side * left)
        row.append(thing)
        place += 2 * along + gap
    return row, place


def _slant(rng, name):
    """Radians between a parked vehicle and the road."""
    slant = rng.uniform(-0.04, 0.04)
    if name == 'car':
        slant += pick(rng, 0., 0., np.pi / 2, np.pi / 3, -np.pi / 3)
    elif name == 'construction_vehicle':
        slant += rng.uniform(-0.5, 0.5)
    return slant


def _surroundings(rng, end):
    """Houses, trees and lamp posts on both sides."""
    things = []
    for side in (-1, 1):
        place = -SIGHT - 20.
        while place < end + SIGHT + 20.:
            length, depth = rng.uniform([8., 8.], [22., 12.])
            place += length / 2
            if rng.random() < 0.85:
                left = HOUSES + depth / 2 + rng.uniform(0., 3.)
                things.append(Thing(None, shapes.building(rng, length, depth), path(
                    place, side * left, turn=-side * np.pi / 2)))
            place += length / 2 + pick(rng, 0.3, rng.uniform(3, 10))
        for place in np.arange(-SIGHT, end + SIGHT, 11.):
            name = pick(rng, 'tree', 'tree', 'lamp_post', None)
            if name is not None:
                things.append(Thing(None, getattr(shapes, name)(rng), path(
                    place + rng.uniform(-3, 3), side * (KERB + 0.45), turn=rng.uniform(0, 6))))
    return things
