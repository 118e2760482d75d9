"""Random pictures of one to four things, labelled as in Pascal VOC.

The twenty classes are drawn by shape, in colours that tell nothing, over rooms, fields, roads and
water full of other shapes that count as background. Every object has a ring of 255 around it.
"""
import cv2
import numpy as np

from ..camera import check_size, develop
from ..canvas import SCALE, Brush, Canvas, paint, pick, smooth_field
from ..streets import figures
from ..streets.vehicles import draw_side_view
from . import shapes

IGNORE = 255


def _side(kind):
    return lambda brush, rng: draw_side_view(brush, rng, kind)


#: class -> (drawing, height in metres, width in metres, share of the picture, usual places)
OBJECTS = dict(
    aeroplane=(shapes.draw_aeroplane, 1.1, 2.8, 0.8, ('sky', 'field')),
    bicycle=(figures.draw_bicycle, 1.0, 1.75, 0.6, ('road', 'field')),
    bird=(shapes.draw_bird, 0.7, 0.95, 0.45, ('sky', 'field', 'water')),
    boat=(shapes.draw_boat, 1.7, 2.3, 0.6, ('water',)),
    bottle=(shapes.draw_bottle, 0.32, 0.1, 0.5, ('room',)),
    bus=(_side('bus'), 3.0, 11.0, 0.95, ('road',)),
    car=(_side('car'), 1.45, 4.4, 0.75, ('road', 'field')),
    cat=(shapes.draw_cat, 0.6, 0.8, 0.6, ('room', 'field')),
    chair=(shapes.draw_chair, 1.0, 0.6, 0.6, ('room',)),
    cow=(shapes.draw_cow, 1.5, 2.5, 0.7, ('field',)),
    diningtable=(shapes.draw_diningtable, 0.92, 1.7, 0.75, ('room',)),
    dog=(shapes.draw_dog, 0.9, 1.3, 0.6, ('room', 'field', 'road')),
    horse=(shapes.draw_horse, 2.1, 2.6, 0.75, ('field', 'road')),
    motorbike=(figures.draw_motorcycle, 1.15, 2.0, 0.65, ('road', 'field')),
    person=(figures.draw_person, 1.75, 0.7, 0.75, ('room', 'field', 'road', 'water')),
    pottedplant=(shapes.draw_pottedplant, 0.95, 0.9, 0.55, ('room', 'road')),
    sheep=(shapes.draw_sheep, 0.85, 1.3, 0.6, ('field',)),
    sofa=(shapes.draw_sofa, 0.9, 2.0, 0.75, ('room',)),
    train=(_side('train'), 3.4, 18.0, 1.3, ('road', 'field')),
    tvmonitor=(shapes.draw_tvmonitor, 0.76, 1.0, 0.55, ('room',)),
)
CLASSES = ('background', *OBJECTS)
PLACES = ('room', 'field', 'road', 'water', 'sky')


def draw_object_scene(rng, width=128, height=128, first=None):
    """One picture with one to four objects.

    Args:
        rng (numpy.random.Generator): source of every choice.
        width (int): picture width in pixels.
        height (int): picture height in pixels.
        first (str): class of the main object; drawn by chance if None.

    Returns:
        tuple: image uint8 (H, W, 3) BGR and labels uint8 (H, W): 0 background, 1..20 the VOC
        classes, 255 along the outlines.

    Raises:
        ValueError: if the picture is too small or ``first`` isn't a VOC class.
    """
    check_size(width, height)
    if first is not None and first not in OBJECTS:
        raise ValueError(f'first={first!r}: expected one of {", ".join(OBJECTS)}')
    names = list(OBJECTS)
    main = first or names[int(rng.integers(len(names)))]
    place = pick(rng, *OBJECTS[main][4]) if rng.random() < 0.8 else pick(rng, *PLACES)
    at_home = [name for name in names if place in OBJECTS[name][4]]
    canvas = Canvas(width, height, 0)
    horizon = draw_place(canvas, rng, place)
    jobs = [(main, rng.uniform(0.75, 1.4), rng.uniform(0.25, 0.75))]
    for _ in range(pick(rng, 0, 1, 1, 2, 3)):
        other = main if rng.random() < 0.35 else at_home[int(rng.integers(len(at_home)))]
        jobs.append((other, rng.uniform(0.35, 0.9), rng.uniform(0.05, 0.95)))
    for name, size, x in sorted(jobs, key=lambda job: job[1]):  # small ones are far away
        draw_object(canvas, rng, name, size, x, place, horizon, CLASSES.index(name))
    image, labels = canvas.finish()
    return develop(rng, image), _ring(labels)


def draw_object(canvas, rng, name, size, x, place, horizon, label):
    """Draw one thing of a class: ``size`` is a share of its usual one, ``x`` of the width."""
    draw, tall, wide, share, _ = OBJECTS[name]
    pixels = size * share * min(canvas.width / wide, canvas.height * 1.15 / tall)
    if place == 'sky' or (name == 'bird' and rng.random() < 0.4):
        foot = rng.uniform(0.45, 0.95) * canvas.height
    else:  # the larger, the nearer, the lower
        foot = horizon + (canvas.height * rng.uniform(0.88, 1.02) - horizon) * min(size, 1) ** 0.6
    angle = rng.normal(0, 0.2 if name in ('aeroplane', 'bird') else 0.04)
    tone = np.array([rng.uniform(0.7, 1.15)] * 3) * rng.uniform(0.92, 1.08, 3)
    brush = Brush(canvas, (x * canvas.width, foot), pixels, label,
                  flip=pick(rng, -1, 1), squash=rng.uniform(0.8, 1.05), angle=angle,
                  tint=lambda colour: np.clip(colour * tone, 0, 255))
    if place not in ('sky', 'water'):
        canvas.ellipse((x * canvas.width, foot), (wide * pixels * 0.5, 0.03 * canvas.height),
                       (15, 12, 12), None, 0.4)
    draw(brush, rng)


def _ring(labels):
    """255 wherever the label changes within a pixel (more on large pictures)."""
    reach = 2 * max(1, round(min(labels.shape) / 200)) + 1
    kernel = np.ones((reach, reach), np.uint8)
    edge = cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)
    return np.where(edge, np.uint8(IGNORE), labels)


def draw_place(canvas, rng, place):
    """Paint the background; returns the row of its horizon."""
    width, height = canvas.width, canvas.height
    horizon = height * (rng.uniform(0.3, 0.6) if place != 'sky' else 1.2)
    hues = dict(room=(0, 1), sky=(0.5, 0.68)).get(place, (0.5, 0.68))
    upper = paint(rng, hue=hues, saturation=(0, 0.5), value=(0.35, 0.95))
    hues = dict(field=(0.1, 0.38), water=(0.45, 0.65)).get(place, (0, 1))
    lower = paint(rng, hue=hues, saturation=(0.05, 0.55), value=(0.2, 0.75))
    rows = np.arange(height)[:, None]
    colour = np.where((rows < horizon)[..., None], upper, lower)
    fall = 1 + rng.uniform(-0.3, 0.3) * (rows / height)
    mottle = 1 + rng.uniform(0.02, 0.1) * smooth_field(rng, width, height, 7)
    grain = 1 + rng.uniform(0.0, 0.07) * smooth_field(rng, width, height, width // 2)
    picture = np.clip(colour * (fall * mottle * grain)[..., None], 0, 255).astype(np.uint8)
    cv2.resize(picture, (width * SCALE, height * SCALE), dst=canvas.image)
    if place == 'room':
        _draw_room(canvas, rng, horizon, upper, lower)
    elif place in ('field', 'road'):
        _draw_distance(canvas, rng, horizon, lower)
    elif place == 'water':
        for _ in range(40):
            x, y = rng.uniform(0, width), rng.uniform(horizon, height)
            canvas.ellipse((x, y), (rng.uniform(2, 10), 0.7), lower * rng.uniform(0.7, 1.5), None,
                           0.6)
    _draw_clutter(canvas, rng, horizon)
    return min(horizon, height * 0.7)


def _draw_room(canvas, rng, horizon, wall, floor):
    width, height = canvas.width, canvas.height
    kind = pick(rng, 'stripes', 'tiles', 'plain')
    if kind != 'plain':
        for x in np.arange(0, width, rng.uniform(0.04, 0.15) * width):
            canvas.line((x, 0), (x, horizon), rng.uniform(0.5, 3), wall * 0.85)
    for x in np.arange(-width, 2 * width, rng.uniform(0.1, 0.3) * width):
        canvas.line((width / 2 + (x - width / 2) * 0.5, horizon), (x, height), 0.8, floor * 0.75)
    canvas.line((0, horizon), (width, horizon), 2, np.full(3, rng.uniform(60, 230)))
    for _ in range(int(rng.integers(0, 3))):  # pictures, windows, cupboards
        x, y = rng.uniform(0, width), rng.uniform(0, horizon * 0.6)
        w, h = rng.uniform(0.1, 0.3) * width, rng.uniform(0.1, 0.3) * height
        for grow in (1.0, 0.85):
            box = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (w * grow / 2, h * grow / 2)
            canvas.poly(box + (x, y + h / 2), paint(rng))


def _draw_distance(canvas, rng, horizon, ground):
    width, unit = canvas.width, canvas.height / 128
    for _ in range(int(rng.integers(2, 9))):  # houses, hills, woods
        x, wide = rng.uniform(0, width), rng.uniform(8, 40) * unit
        tall, colour = rng.uniform(4, 30) * unit, paint(rng, value=(0.2, 0.8))
        kind = pick(rng, 'house', 'hill', 'wood')
        if kind == 'house':
            canvas.poly([(x, horizon), (x + wide, horizon), (x + wide, horizon - tall),
                         (x + wide / 2, horizon - tall * 1.4), (x, horizon - tall)], colour)
        elif kind == 'hill':
            angle = np.linspace(0, np.pi, 12)
            canvas.poly(np.stack([x + np.cos(angle) * wide * 1.5,
                                  horizon - np.sin(angle) * tall * 0.7], 1), colour)
        else:
            points = np.stack([x + rng.uniform(0, wide, 18),
                               horizon - rng.uniform(0, tall, 18)], axis=1)
            green = paint(rng, hue=(0.15, 0.4), value=(0.15, 0.5))
            canvas.blobs(points, rng.uniform(2, 6, 18) * unit,
                         green * rng.uniform(0.7, 1.3, (18, 1)))
    for _ in range(60):  # tufts or gravel
        x, y = rng.uniform(0, width), rng.uniform(horizon, canvas.height)
        canvas.line((x, y), (x + rng.normal(0, 1), y - rng.uniform(0.5, 4) * unit), 0.7,
                    np.clip(ground * rng.uniform(0.6, 1.4), 0, 255))


def _draw_clutter(canvas, rng, horizon):
    """Boxes, balls and sticks that are no object of any class."""
    size = canvas.height
    for _ in range(int(rng.integers(1, 7))):
        x, y = rng.uniform(0, canvas.width), rng.uniform(0.4, 1.0) * size
        r, colour = rng.uniform(0.03, 0.12) * size, paint(rng, saturation=(0, 0.8))
        kind = pick(rng, 'ball', 'box', 'stick', 'cone')
        if kind == 'ball':
            canvas.ellipse((x, y), (r, r), colour)
            canvas.ellipse((x - r * 0.3, y - r * 0.3), (r * 0.3, r * 0.3),
                           np.clip(colour * 1.5, 0, 255))
        elif kind == 'box':
            canvas.poly([(x - r, y), (x + r, y), (x + r, y - r), (x - r, y - r)], colour)
            canvas.poly([(x + r, y), (x + 1.5 * r, y - 0.3 * r), (x + 1.5 * r, y - 1.3 * r),
                         (x + r, y - r)], colour * 0.7)
        elif kind == 'stick':
            canvas.line((x, y), (x + rng.normal(0, r), y - 3 * r), r * 0.2, colour)
        else:
            canvas.poly([(x - r * 0.6, y), (x + r * 0.6, y), (x, y - 1.8 * r)], colour)
