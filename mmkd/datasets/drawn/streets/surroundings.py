"""What stands still around a street: sky, ground, houses, walls, fences, greenery."""
import cv2
import numpy as np

from ..canvas import SCALE, paint, pick, smooth_field
from .world import BUILDING, FENCE, ROAD, SIDEWALK, SKY, TERRAIN, VEGETATION, WALL


def draw_sky(world):
    """Gradient and clouds over the whole canvas, then a far skyline."""
    rng, canvas = world.rng, world.canvas
    width, height = canvas.width, canvas.height
    zenith = paint(rng, hue=(0.5, 0.68), saturation=(0.05, 0.65), value=(0.35, 0.95))
    low = zenith * 0.4 + paint(rng, hue=(0.0, 0.2), saturation=(0, 0.35), value=(0.6, 1.0)) * 0.6
    level = np.linspace(0, 1, height, dtype=np.float32)[:, None, None] * height / world.horizon
    zenith, low = zenith.astype(np.float32), low.astype(np.float32)
    sky = zenith + (low - zenith) * np.clip(level, 0, 1)
    clouds = smooth_field(rng, width, height, 5) + 0.5 * smooth_field(rng, width, height, 13)
    cover = np.clip(clouds * rng.uniform(0.2, 0.6) + rng.uniform(-0.4, 0.5), 0, 0.9)[..., None]
    sky = sky + (np.float32(rng.uniform(150, 250)) - sky) * cover
    sky = np.clip(sky, 0, 255).astype(np.uint8)
    cv2.resize(sky, (width * SCALE, height * SCALE), dst=canvas.image)
    canvas.labels[...] = SKY
    _draw_skyline(world)


def _draw_skyline(world):
    rng, canvas = world.rng, world.canvas
    unit, x = canvas.height / 128, 0.0
    while x < canvas.width:
        wide, tall = rng.uniform(8, 30) * unit, rng.uniform(2, 16) * unit
        colour = world.tint(paint(rng, saturation=(0, 0.4), value=(0.2, 0.7)), 150)
        if rng.random() < 0.5:
            canvas.poly([(x, world.horizon + 2), (x + wide, world.horizon + 2),
                         (x + wide, world.horizon - tall), (x, world.horizon - tall)],
                        colour, BUILDING)
        else:
            centres = np.stack([rng.uniform(x, x + wide, 12),
                                world.horizon - rng.uniform(0, tall * 0.6, 12)], axis=1)
            shade = rng.uniform(0.75, 1.2, (12, 1))
            green = world.tint(leaf_colour(rng), 150)
            canvas.blobs(centres, rng.uniform(2, 5, 12) * unit, green * shade, VEGETATION)
        x += wide


def leaf_colour(rng):
    """Leaves through the seasons: mostly green, also yellow, red and brown."""
    hue = (0.18, 0.42) if rng.random() < 0.7 else (0.0, 0.18)
    return paint(rng, hue=hue, saturation=(0.2, 0.7), value=(0.2, 0.6))


def draw_ground(world, plan):
    """Verges, sidewalks, road and its markings, out to the horizon."""
    rng, far = world.rng, 200.0
    for side in (-1, 1):
        inner, outer = side * plan['road'], side * (plan['road'] + plan['sidewalk'])
        label = plan['verge'][side]
        colour = plan['grass'] if label == TERRAIN else plan['paving']
        world.ground(inner, side * 400, 0.7, far, colour, label)
        if label == TERRAIN:
            _speckle(world, outer, side * (abs(outer) + 25), colour, 160)
        world.ground(inner, outer, 0.7, far, plan['paving'], SIDEWALK)
        if rng.random() < 0.35:  # a strip of grass along the kerb
            world.ground(inner, inner + side * 1.2, 0.7, far, plan['grass'], TERRAIN)
            _speckle(world, inner, inner + side * 1.2, plan['grass'], 60)
        else:
            _paving_lines(world, inner, outer, plan['paving'])
    world.ground(-plan['road'], plan['road'], 0.7, far, plan['asphalt'], ROAD)
    _road_surface(world, plan)
    for side in (-1, 1):  # kerb
        kerb = side * plan['road']
        world.ground(kerb, kerb + side * 0.22, 0.7, far, plan['paving'] * 1.15 + 12, SIDEWALK)


def _speckle(world, x0, x1, colour, count):
    rng = world.rng
    z = 1 / rng.uniform(1 / 60, 1 / 3, count)
    points = np.stack([x0 + (x1 - x0) * rng.random(count), np.zeros(count), z], axis=1)
    shades = world.tint(colour, 12) * rng.uniform(0.7, 1.35, (count, 1))
    sizes = np.clip(0.1 * world.focal / z, 0.35, world.canvas.height / 90)
    world.canvas.blobs(world.project(points), sizes, shades)


def _paving_lines(world, inner, outer, colour):
    z, step, dark, cuts = 3.0, world.rng.uniform(0.8, 2.5), colour * 0.82, []
    while z < 40:
        cuts.append((inner, outer, z, z + 0.06 + z * 0.004))
        z += step * (1 + z / 20)
    world.stripes(cuts, dark)
    middle = (inner + outer) / 2
    world.ground(middle, middle + 0.06, 0.7, 60, dark)


def _road_surface(world, plan):
    rng, half, tar = world.rng, plan['road'], plan['asphalt']
    for _ in range(int(rng.integers(1, 6))):  # mended patches and puddles
        x, z = rng.uniform(-half, half - 1), rng.uniform(3, 40)
        colour = tar * rng.uniform(0.6, 1.3) if rng.random() < 0.75 else world.haze
        world.ground(x, min(x + rng.uniform(0.5, 3), half), z, z + rng.uniform(0.5, 8), colour,
                     alpha=0.6)
    mark = pick(rng, np.full(3, 225.0), np.full(3, 180.0), np.array([70., 190., 220.]))
    wear = rng.uniform(0.35, 0.9)
    lanes = plan['lanes']
    for lane in range(1, len(lanes) + 1):  # dashes between lanes
        x = -half + 2 * half * lane / (len(lanes) + 1)
        starts = np.arange(rng.uniform(1, 5), 70, 7.5)
        world.stripes([(x - 0.08, x + 0.08, z, z + 3) for z in starts], mark, wear)
    if rng.random() < 0.6:
        for side in (-1, 1):
            x = side * (half - 0.45)
            world.ground(x - 0.07, x + 0.07, 0.7, 120, mark, alpha=wear)
    if rng.random() < 0.3:  # zebra crossing
        z = rng.uniform(5, 22)
        world.stripes([(x, x + 0.5, z, z + 3) for x in np.arange(-half + 0.3, half - 0.5, 1.0)],
                      mark, wear)
    if plan['rails'] is not None:
        for x in (plan['rails'] - 0.72, plan['rails'] + 0.72):
            world.ground(x - 0.06, x + 0.06, 0.7, 120, tar * 0.45)
    if abs(world.sun) > 0.35:  # long shadow of the houses on the sunny side
        edge = np.sign(world.sun) * (half + plan['sidewalk'])
        world.ground(edge, edge - np.sign(world.sun) * plan['sidewalk'] * rng.uniform(1, 3.5),
                     rng.uniform(0.7, 12), rng.uniform(15, 120), (10, 8, 8), alpha=0.4)


def draw_building(world, side, x, z0, z1):
    """A house whose front runs along the street from z0 to z1 at ``x``."""
    rng = world.rng
    height, depth = rng.uniform(4, 22), 12.0
    colour = paint(rng, saturation=(0.0, 0.55), value=(0.25, 0.95))
    out = x + side * depth
    end = [(x, 0, z0), (out, 0, z0), (out, height, z0), (x, height, z0)]
    front = [(x, 0, z0), (x, 0, z1), (x, height, z1), (x, height, z0)]
    if rng.random() < 0.5:  # pitched roof
        ridge, tile = height + rng.uniform(1.5, 4), paint(rng, value=(0.15, 0.55))
        middle = x + side * depth / 2
        world.poly([(x, height, z0), (out, height, z0), (middle, ridge, z0)], colour, BUILDING,
                   0.85)
        world.poly([(x - side * 0.3, height - 0.1, z0), (x - side * 0.3, height - 0.1, z1),
                    (middle, ridge, z1), (middle, ridge, z0)], tile, BUILDING)
    light = world.side_light(-side)
    world.poly(end, colour, BUILDING, 0.85)
    world.poly(front, colour, BUILDING, light)
    glass = paint(rng, hue=(0.5, 0.7), saturation=(0, 0.35), value=(0.1, 0.75))
    floor, column = rng.uniform(2.7, 3.8), rng.uniform(1.8, 4.5)
    tall, wide = rng.uniform(0.35, 0.7), rng.uniform(0.3, 0.75)
    for face, length, shade in ((front, z1 - z0, light), (end, depth, 0.85)):
        floors, columns = max(1, int(height / floor)), max(1, int(length / column))
        u = (np.arange(columns) + 0.5) / columns
        v = (np.arange(floors) + 0.55) / floors
        du, dv = wide / columns / 2, tall / floors / 2
        boxes = np.array([(a - du, b - dv, a + du, b + dv) for b in v[1:] for a in u])
        world.on_face(face, np.stack([0 * v[1:], v[1:] - 0.5 / floors, 0 * v[1:] + 1,
                                      v[1:] - 0.46 / floors], axis=1), colour * 0.85, shade)
        if len(boxes):
            frame = boxes + np.array([-1, -1, 1, 1]) * np.array([du, dv, du, dv]) * 0.25
            lit = rng.random(len(boxes)) < 0.2
            world.on_face(face, frame, colour * pick(rng, 0.7, 1.2), shade)
            world.on_face(face, boxes, glass, shade)
            world.on_face(face, boxes[lit], glass * 0.4 + np.array([90., 140., 150.]), shade)
        if floors > 1 and rng.random() < 0.6:
            _draw_shop(world, face, 1 / floors, columns, shade)


def _draw_shop(world, face, top, columns, light):
    rng = world.rng
    cells = [(i / columns + 0.02, 0.05 * top, (i + 0.85) / columns, 0.72 * top)
             for i in range(columns)]
    world.on_face(face, cells, paint(rng, value=(0.05, 0.6)), light)
    board = paint(rng, saturation=(0.2, 0.95))
    world.on_face(face, [(0.02, 0.74 * top, 0.98, 0.92 * top)], board, light)
    letters = [(a, 0.78 * top, a + 0.03, 0.88 * top) for a in rng.uniform(0.1, 0.9, 6)]
    world.on_face(face, letters[:1], 255 - board, light)
    a = rng.uniform(0, 0.8)  # a poster: a bright shape that is no traffic sign
    world.on_face(face, [(a, 0.2 * top, a + 0.12, 0.6 * top)], paint(rng, saturation=(0.3, 1)))


def draw_wall(world, side, x, z0, z1):
    """A free-standing wall with panel or brick joints and a coping."""
    rng = world.rng
    height, colour = rng.uniform(1.3, 4.0), paint(rng, saturation=(0, 0.5), value=(0.3, 0.85))
    face = [(x, 0, z0), (x, 0, z1), (x, height, z1), (x, height, z0)]
    light = world.side_light(-side)
    world.poly([(x, 0, z0), (x + side * 0.4, 0, z0), (x + side * 0.4, height, z0),
                (x, height, z0)], colour, WALL, 0.8)
    world.poly(face, colour, WALL, light)
    joints = np.arange(0, 1, rng.uniform(1.0, 3.0) / (z1 - z0))
    dark = colour * rng.uniform(0.7, 0.92)
    world.on_face(face, [(u, 0, u + 0.006, 1) for u in joints], dark, light)
    world.on_face(face, [(0, v, 1, v + 0.02) for v in np.arange(0.15, 0.95, 0.2)], dark, light)
    world.on_face(face, [(0, 0.93, 1, 1)], colour * 1.2, light)
    if rng.random() < 0.4:  # painted letters
        for u in rng.uniform(0.05, 0.9, 8):
            world.on_face(face, [(u, 0.3, u + 0.03, 0.7)], paint(rng, saturation=(0.4, 1)))


def draw_fence(world, side, x, z0, z1):
    """Rails and pickets that let the background through; all of it is fence."""
    rng = world.rng
    height, colour = rng.uniform(0.9, 2.2), paint(rng, saturation=(0, 0.5), value=(0.1, 0.9))
    face = [(x, 0, z0), (x, 0, z1), (x, height, z1), (x, height, z0)]
    world.poly(face, colour, FENCE, alpha=rng.uniform(0.15, 0.5))
    pitch = rng.uniform(0.25, 0.9)
    pickets = np.arange(0, 1, pitch / (z1 - z0))
    bar = rng.uniform(0.15, 0.5) * pitch / (z1 - z0)
    light = world.side_light(-side)
    world.on_face(face, [(u, 0, u + bar, 0.96) for u in pickets], colour, light)
    world.on_face(face, [(0, v, 1, v + 0.07) for v in (0.12, 0.5, 0.9)], colour * 0.9, light)


def draw_tree(world, x, z, shape=None):
    """A trunk and a crown of leaf clumps, lit from the sun's side and from above."""
    rng = world.rng
    brush = world.brush(x, z, VEGETATION)
    tall, spread = rng.uniform(4, 9), rng.uniform(1.2, 2.6)
    shape = shape or pick(rng, 'round', 'round', 'cone')
    trunk = paint(rng, hue=(0.04, 0.12), saturation=(0.1, 0.5), value=(0.12, 0.4))
    brush.poly([(-0.16, 0), (0.16, 0), (0.1, tall * 0.6), (-0.1, tall * 0.6)], trunk)
    count = int(np.clip(1100 / z, 18, 75))
    if shape == 'cone':
        level = rng.uniform(0, 1, count)
        points = np.stack([rng.uniform(-1, 1, count) * spread * 0.8 * (1.05 - level),
                           tall * (0.2 + 0.8 * level)], axis=1)
    else:
        turn, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
        points = np.stack([np.cos(turn) * reach * spread,
                           tall * 0.7 + np.sin(turn) * reach * tall * 0.28], axis=1)
    _draw_leaves(world, brush, points, spread * rng.uniform(0.12, 0.3, count), tall, spread)


def draw_hedge(world, side, x, z0, z1):
    """A row of bushes along the street."""
    rng = world.rng
    tall = rng.uniform(0.8, 2.6)
    z = z1
    while z > z0:
        brush, count = world.brush(x + side * 0.8, z, VEGETATION), int(np.clip(400 / z, 9, 30))
        points = np.stack([rng.uniform(-1.3, 1.3, count), rng.uniform(0.1, 0.9, count) * tall], 1)
        _draw_leaves(world, brush, points, tall * rng.uniform(0.12, 0.3, count), tall, 1.3)
        z -= max(1.2, z / 10)


def _draw_leaves(world, brush, points, radii, tall, spread):
    rng = world.rng
    order = np.argsort(points[:, 1] + rng.normal(0, 0.2 * tall, len(points)))
    points, radii = points[order], radii[order]
    shine = 0.75 + 0.35 * points[:, 1] / tall + 0.2 * world.sun * points[:, 0] / spread
    shine = shine * rng.uniform(0.75, 1.25, len(points))
    brush.blobs(points, radii, leaf_colour(rng) * shine[:, None])
