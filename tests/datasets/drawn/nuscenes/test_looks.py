"""What the sensors see tells what a thing is, which way it points and what is before it."""
import numpy as np
import pytest

from mmkd.datasets.drawn.nuscenes import shapes
from mmkd.datasets.drawn.nuscenes.cast import cast
from mmkd.datasets.drawn.nuscenes.ground import Ground
from mmkd.datasets.drawn.nuscenes.painting import paint_picture
from mmkd.datasets.drawn.nuscenes.recording import scan_turn
from mmkd.datasets.drawn.nuscenes.road import Road, path
from mmkd.datasets.drawn.nuscenes.scenes import CLASSES, make_thing
from mmkd.datasets.drawn.nuscenes.sensors import aim, make_sensors
from mmkd.datasets.drawn.nuscenes.turns import about, joined, matrix
from mmkd.datasets.drawn.nuscenes.world import Thing, World

SUN = np.array([0.6, 0., 0.8])


class StraightRoad(Road):
    def __init__(self):
        self.places = np.array([-200., 200.])
        self.heading, self.x, self.y = np.zeros(2), self.places, np.zeros(2)


def look(*things, sun=SUN):
    """Picture of the front camera of a car at the origin, and points and their things."""
    world = World(StraightRoad(), list(things), path(0., 0.), sun)
    sensors = make_sensors(np.random.default_rng(0), 320, 180)
    faces = world.faces(0., (0., 0.), 75.)
    rays = aim(sensors[0], 0., 320, 180)
    around = faces.seen_from(rays.origin)
    near, index, _ = cast(rays, around)
    ground = Ground(world, faces, np.zeros(2), 0.)
    picture = paint_picture(np.random.default_rng(0), rays, near, index, around, ground, sun)
    points, owners = scan_turn(np.random.default_rng(0), sensors[-1], 0., faces)
    there = points[:, :3] @ matrix(sensors[-1].turn).T + sensors[-1].translation
    return picture.astype(int), np.c_[there, points[:, 3]], owners, index >= 0


def thing(name, ahead=9., turn=0., left=0., seed=3):
    return make_thing(np.random.default_rng(seed), name, ahead, left, turn=turn)


def test_turns_are_those_of_pyquaternion():
    from pyquaternion import Quaternion
    rng = np.random.default_rng(0)
    for one, other in rng.standard_normal((20, 2, 4)):
        first, second = (Quaternion(axis=turn[1:], radians=turn[0]) for turn in (one, other))
        mine = joined(about(other[1:], other[0]), about(one[1:], one[0]))
        np.testing.assert_allclose(mine, (second * first).elements, atol=1e-12)
        np.testing.assert_allclose(matrix(mine), (second * first).rotation_matrix, atol=1e-12)


@pytest.mark.parametrize('name', sorted(set(CLASSES) - {'traffic_cone'}))
def test_front_and_back_differ_in_both_sensors(name):
    """The same thing at the same place, turned around."""
    ahead = dict(pedestrian=5., bicycle=5., motorcycle=5., barrier=5.).get(name, 12.)
    (one, points, owners, mask), (other, points2, owners2, mask2) = (
        look(thing(name, ahead, turn)) for turn in (0., np.pi))
    both = mask & mask2
    assert both.sum() > 100
    differs = np.abs(one - other).max(2) > 40
    assert differs[both].mean() > 0.1
    depths = [cells(p[o == 0]) for p, o in ((points, owners), (points2, owners2))]
    shared = depths[0].keys() & depths[1].keys()
    gaps = [abs(depths[0][cell] - depths[1][cell]) for cell in shared]
    apart = len(depths[0].keys() ^ depths[1].keys())
    assert len(shared) > 5
    assert (np.sum(np.array(gaps) > 0.07) + apart) / (len(shared) + apart) > 0.2


def cells(points):
    """Direction from the scanner in degrees -> metres ahead."""
    side = np.rint(np.degrees(np.arctan2(points[:, 1], points[:, 0] - 0.94)) * 2)
    up = np.rint(np.degrees(np.arctan2(points[:, 2] - 1.84, np.hypot(*points[:, :2].T))))
    return {(a, b): x for a, b, x in zip(side, up, points[:, 0], strict=True)}


@pytest.mark.parametrize('name', ['car', 'truck', 'bus', 'trailer', 'construction_vehicle'])
def test_lights_are_red_behind(name):
    def red(turn):
        picture = look(thing(name, 11., turn))[0]
        return ((picture[..., 2] > 150) & (picture[..., :2].max(2) < 80)).sum()
    assert red(0.) > 20 * max(red(np.pi), 1)  # it drives away: its back is seen


def test_a_car_has_its_hood_in_front():
    """In the scanner's points: low in the front quarter, high behind the middle."""
    _, points, owners, _ = look(thing('car', 8., np.pi / 2, seed=4))  # front to the left
    points = points[owners == 0]
    front, rear = (points[points[:, 1] > 1.2], points[(points[:, 1] < 0) & (points[:, 1] > -1.5)])
    assert len(front) > 10 and front[:, 2].max() < 1.1 < 1.3 < rear[:, 2].max()


def test_what_stands_before_hides_what_is_behind():
    bus, cone = thing('bus', 11.), thing('traffic_cone', 19., left=0.3)
    alone = look(cone)
    hidden = look(cone, bus)
    assert (alone[2] == 0).sum() > 1 and alone[3].sum() > 10
    assert (hidden[2] == 0).sum() == 0
    assert np.array_equal(hidden[0][hidden[3]], look(bus)[0][hidden[3]])


def test_returns_get_fewer_with_distance_and_tell_the_material():
    _, points, owners, _ = look(thing('traffic_cone', 7.), thing('car', 7., left=4.))
    ground = owners == -1
    distance = np.hypot(points[:, 0] - 0.94, points[:, 1])
    rings = [(ground & (distance > low) & (distance < low + 4)).sum() for low in (4, 12, 24)]
    assert rings[0] > rings[1] > rings[2] > 0
    cone, car = (points[owners == index, 3].mean() for index in (0, 1))
    assert cone > 1.5 * car > points[ground, 3].mean() * 1.2
    assert 0 < points[:, 3].min() and points[:, 3].max() <= 255


def test_noise_of_the_range_is_two_centimetres():
    wall = shapes.building(np.random.default_rng(0), 20., 8.)
    _, points, owners, _ = look(Thing(None, wall, path(14., 0., turn=np.pi)))
    away = points[owners == 0]
    away = away[np.abs(away[:, 1]) < 3][:, 0] - 10.
    assert len(away) > 300 and 0.01 < away.std() < 0.03 and abs(away.mean()) < 0.005


def test_sides_towards_the_sun_are_brighter_and_shadows_fall_away_from_it():
    box = thing('trailer', 14., np.pi / 2)
    behind, before = (look(box, sun=np.array([side, 0., 0.8])) for side in (-0.6, 0.6))
    mask = behind[3] & before[3]
    assert behind[0][mask].mean() > 1.2 * before[0][mask].mean()
    ground = (slice(128, 133), slice(140, 180))  # 11 to 12.5 m ahead, before the trailer
    assert before[0][ground].mean() < behind[0][ground].mean()
