"""The shapes of nuScenes' ten detection classes, and of what stands beside the road.

Every shape tells front from back, by its outline (for the laser) and by its colours (for the
cameras): cars have a hood in front and the cabin further back, lights are white in front and red
behind, riders lean forward, pedestrians have a face.
"""
import numpy as np

from ..canvas import paint as random_paint
from .solids import Paint, box, loft, moved, pillar, rectangle

TYRE = Paint((0.06, 0.06, 0.06), 0.08)
STEEL = Paint((0.25, 0.25, 0.25), 0.3)
GLASS = Paint((0.22, 0.17, 0.13), 0.06, pattern='glass')


def _lacquer(rng, value=(0.25, 0.95), **faces):
    """A vehicle's paint, with lights at both ends; number plates send much light back."""
    saturation = (0.0, 0.12) if rng.random() < 0.5 else (0.5, 0.9)
    color = tuple(random_paint(rng, saturation=saturation, value=value) / 255)
    return Paint(color, float(rng.uniform(0.15, 0.4)), extra={1: 0.8, 3: 0.45}, **faces)


def _axles(*places, half_width, radius):
    return [box(x + radius, x - radius, half_width, 0., 2 * radius, TYRE) for x in places]


def car(rng):
    length, width, height = rng.uniform([4.0, 1.75, 1.45], [4.9, 1.95, 1.75])
    end, half, belt = length / 2, width / 2, rng.uniform(0.8, 0.9)
    lacquer = _lacquer(rng, front='front', back='back')
    cabin = Paint(lacquer.color, 0.2, pattern='glass')
    return [*_axles(end - 0.85, 0.85 - end, half_width=half, radius=0.31),
            box(end, -end, half, 0.25, belt, lacquer, rake=(0.15, 0.05), narrow=0.03),
            box(0.22 * end, 0.12 - end, half - 0.05, belt, height, cabin,
                rake=(0.55, rng.uniform(0.15, 0.5)), narrow=0.15)]


def truck(rng):
    length, width, height = rng.uniform([6.5, 2.3, 2.9], [9.0, 2.6, 3.6])
    end, half = length / 2, width / 2
    cab = _lacquer(rng, front='front', side='windows')
    load = _lacquer(rng, value=(0.6, 0.95), back='doors', side='side')
    return [*_axles(end - 1.1, 1.5 - end, half_width=half - 0.05, radius=0.5),
            box(end - 0.2, -end, half - 0.3, 0.6, 1.0, STEEL),
            box(end, end - 1.8, half - 0.05, 0.5, 2.3, cab, rake=(0.35, 0.)),
            box(end - 2.2, -end, half, 1.0, height, load)]


def bus(rng):
    length, width, height = rng.uniform([9.0, 2.5, 2.9], [11.5, 2.7, 3.3])
    end, half = length / 2, width / 2
    body = _lacquer(rng, value=(0.5, 0.95), front='front', back='back')
    upper = Paint(body.color, 0.2, side='windows', front='glass', back='side', storey=(1.6, 9.))
    return [*_axles(end - 2.2, 2.6 - end, half_width=half, radius=0.45),
            box(end, -end, half, 0.35, 1.3, body),
            box(end, -end, half, 1.3, height, upper, rake=(0.7, 0.), narrow=0.05),
            box(-end + 3., -end + 0.8, half - 0.4, height, height + 0.25, STEEL)]


def trailer(rng):
    length, width, height = rng.uniform([7.5, 2.3, 2.8], [10.5, 2.6, 3.6])
    end, half = length / 2, width / 2
    load = _lacquer(rng, value=(0.55, 0.95), back='doors', side='side')
    return [*_axles(1.0 - end, 2.2 - end, half_width=half - 0.05, radius=0.45),
            box(end, end - 2.2, 0.15, 0.55, 0.8, STEEL),
            box(end - 1.6, -end, half, 0.9, height, load)]


def construction_vehicle(rng):
    length, width, height = rng.uniform([5.6, 2.4, 2.7], [7.0, 2.8, 3.1])
    end, half = length / 2, width / 2
    color = (0.08, rng.uniform(0.5, 0.7), rng.uniform(0.8, 0.95))
    yellow, motor = Paint(color, 0.35), Paint(color, 0.35, back='back')
    reach = end - 0.5
    boom = loft(rectangle(1.2, 0.4, 0.22), rectangle(reach, reach - 0.6, 0.22), 1.2, height + 0.4,
                yellow)
    arm = loft(rectangle(end, end - 0.35, 0.18), rectangle(reach, reach - 0.4, 0.18), 0.7,
               height + 0.3, yellow)
    return [box(1.4, -end + 0.3, half, 0., 0.85, TYRE),
            box(0.9, -end, half - 0.1, 0.85, 1.75, motor, rake=(0., 0.2)),
            moved(box(1.2, -0.3, 0.55, 1.0, height, Paint(color, 0.2, pattern='glass'),
                      rake=(0.25, 0.)), np.array([0., half - 0.75, 0.])),
            boom, arm, box(end, end - 0.8, 0.5, 0.1, 0.75, STEEL)]


def _person(rng, hip, lean=0., height=1.75, half=0.23):
    """Torso and head above ``hip``, with a face in front; ``lean`` metres forward at the neck."""
    clothes = Paint(tuple(random_paint(rng, saturation=(0.2, 0.9)) / 255), 0.2, back='side')
    hair = Paint(tuple(rng.uniform(0.02, 0.25, 3)), 0.1, front='face')
    neck = height - 0.26
    torso = loft(rectangle(0.13, -0.13, half), rectangle(0.12 + lean, lean - 0.12, half - 0.04),
                 hip, neck, clothes)
    return [torso, moved(box(0.13, -0.1, 0.1, neck, height, hair), np.array([lean + .03, 0, 0]))]


def pedestrian(rng):
    height = rng.uniform(1.55, 1.9)
    trousers = Paint(tuple(random_paint(rng, saturation=(0.0, 0.6), value=(0.1, 0.5)) / 255), 0.15)
    solids = [box(0.3, -0.22, 0.16, 0., 0.08, TYRE),  # shoes: longer in front
              box(0.12, -0.12, 0.15, 0.08, 0.85, trousers), *_person(rng, 0.85, 0.03, height)]
    if rng.random() < 0.5:
        pack = Paint(tuple(random_paint(rng, saturation=(0.4, 0.9)) / 255), 0.3)
        solids.append(moved(box(-0.12, -0.34, 0.17, 0.95, height - 0.35, pack),
                            np.array([0.02, 0, 0])))
    return solids


def _cycle(rng, length, half, body, saddle, rider):
    """What has two wheels, a handlebar in front and, maybe, a rider who leans on it."""
    end, radius = length / 2, 0.33
    lamp = Paint((0.9, 0.95, 0.98), 0.6, front='front')
    solids = [box(end, end - 2 * radius, half * 0.16, 0., 2 * radius, TYRE),
              box(2 * radius - end, -end, half * 0.16, 0., 2 * radius, TYRE),
              box(end - radius, -end + radius, half * body[0], body[1], body[2], _lacquer(rng)),
              box(-0.1, -end + 0.12, half * 0.35, saddle - 0.12, saddle, TYRE, rake=(0., 0.05)),
              box(end - 0.45, end - 0.55, half, 1.0, 1.08, STEEL),
              box(end - 0.35, end - 0.47, 0.09, 0.75, 1.0, lamp),
              box(-end + 0.12, -end + 0.04, 0.09, 0.62, 0.76, Paint((0.1, 0.1, 0.9), 0.9))]
    if rider:
        height = rng.uniform(1.6, 1.75)
        legs = Paint(tuple(rng.uniform(0.1, 0.4, 3)), 0.15)
        solids += [moved(part, np.array([-0.25, 0, 0]))
                   for part in [*_person(rng, saddle, 0.3, height, 0.22),
                                box(0.35, -0.1, 0.2, 0.3, saddle, legs, rake=(0.1, 0.))]]
    return solids


def motorcycle(rng, rider):
    return _cycle(rng, rng.uniform(1.95, 2.3), rng.uniform(0.34, 0.42), (0.45, 0.35, 0.8), 0.85,
                  rider)


def bicycle(rng, rider):
    return _cycle(rng, rng.uniform(1.6, 1.85), rng.uniform(0.27, 0.32), (0.15, 0.45, 0.62), 0.92,
                  rider)


def traffic_cone(rng):
    height, radius = rng.uniform([0.65, 0.16], [1.0, 0.2])
    orange = Paint((0.1, 0.35, 0.95), 0.7, pattern='bands')
    return [box(radius + 0.03, -radius - 0.03, radius + 0.03, 0., 0.05, TYRE),
            pillar(radius, 0.05, height, orange, top=0.04)]


def barrier(rng):
    """Across x: as in nuScenes, its heading is that of its broad side."""
    width, height = rng.uniform([1.5, 0.9], [2.4, 1.1])
    board = Paint((0.9, 0.9, 0.92), 0.6, pattern='stripes', back='plain', storey=(0.5, 2.))
    foot = Paint((0.3, 0.3, 0.32), 0.2)
    return [box(0.1, -0.05, width / 2, 0.3, height, board),
            box(0.3, -0.18, width / 2 - 0.1, 0., 0.3, foot, rake=(0.2, 0.1))]


def building(rng, length, depth):
    """Its front, with windows, towards x; ``length`` along y."""
    height = rng.uniform(5., 16.)
    wall = Paint(tuple(random_paint(rng, (0.02, 0.15), (0.05, 0.45), (0.45, 0.9)) / 255),
                 float(rng.uniform(0.2, 0.45)), pattern='windows')
    solids = [box(depth / 2, -depth / 2, length / 2, 0., height, wall)]
    if rng.random() < 0.5:
        roof = Paint(tuple(random_paint(rng, (0.0, 0.1), (0.1, 0.5), (0.2, 0.5)) / 255), 0.3)
        solids.append(box(depth / 2, -depth / 2, length / 2, height, height + 2.2, roof,
                          rake=(depth * 0.4, depth * 0.4)))
    return solids


def tree(rng):
    trunk = Paint((0.15, 0.22, 0.3), 0.2)
    leaves = Paint(tuple(random_paint(rng, (0.18, 0.38), (0.35, 0.7), (0.25, 0.6)) / 255), 0.3,
                   pattern='leaves', storey=(0.5, 0.5))
    low, radius = rng.uniform([1.9, 1.0], [2.5, 1.6])
    middle, high = low + rng.uniform(0.8, 1.4), low + rng.uniform(2.2, 4.)
    lean = rng.uniform(-0.15, 0.15, 2)
    return [pillar(0.14, 0., low, trunk, sides=6),
            pillar(radius * 0.55, low, middle, leaves, top=radius, center=lean),
            pillar(radius, middle, high, leaves, top=radius * 0.3, center=lean)]


def lamp_post(rng):
    del rng
    return [pillar(0.09, 0., 6., STEEL, top=0.06, sides=6)]
