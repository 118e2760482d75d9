"""Drives through one scene: writes its pictures and scans, and gives its rows of the tables."""
from pathlib import Path

import numpy as np

from ..trees import write
from .cast import cast
from .ground import Ground
from .lidar import RANGE, scan
from .naming import PERIOD, file_name, times
from .painting import paint_picture
from .road import travelled
from .scenes import CLASSES, make_world
from .sensors import LIDAR, aim, make_sensors
from .tables import SceneTables

SIGHT = 75.  # metres within which things are drawn
STEPS = 720  # of the scanner's turn
ATTEMPTS = 30


def record_scene(root, scene):
    """Write a scene's recordings below ``root``; returns its rows of the tables.

    Each of the ten classes is annotated in each scene. Where one is hidden all the time, the scene
    is drawn anew with other choices.

    Args:
        root (str): the tree's root.
        scene (Scene): which scene.

    Returns:
        dict: table name -> list of records.

    Raises:
        RuntimeError: if a class remained hidden in ``ATTEMPTS`` scenes: the annotations reach too
            few metres.
    """
    for attempt in range(ATTEMPTS):
        tables, missing = _record(Path(root), scene, attempt)
        if not missing:
            return tables.records()
    raise RuntimeError(f'{scene.name}: no {", ".join(sorted(missing))} was seen within '
                       f'{scene.facts["reach"]} m in {ATTEMPTS} tries; raise reach or keyframes')


def start(scene, attempt=0):
    """The world of a scene and the sensors of the car that drives through it."""
    rng = scene.rng(attempt)
    facts = scene.facts
    world = make_world(rng, PERIOD * facts['keyframes'])
    return world, make_sensors(rng, facts['width'], facts['height'])


def _record(root, scene, attempt):
    facts = scene.facts
    world, sensors = start(scene, attempt)
    tables = SceneTables(scene, world, sensors)
    for frame, number, time in times(facts):
        x, y, yaw, _ = pose = world.ego_pose(time)
        key = number == facts['sweeps']
        faces = world.faces(time, (x, y), SIGHT)
        if key:
            tables.add_sample(frame)
        noise = scene.rng(attempt, frame, number)
        path = root / file_name(scene.split, scene.index, LIDAR, frame, number, facts['sweeps'])
        points = scan_turn(noise, sensors[-1], yaw, faces)[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        points.tofile(path)
        tables.add_recording(LIDAR, frame, number, pose)
        if key:
            seen = _take_pictures(noise, root, scene, frame, world, sensors, pose, faces, time)
            for sensor in sensors[:-1]:
                tables.add_recording(sensor.name, frame, number, pose)
            tables.annotate(frame, time, pose, points, seen)
    return tables, set(CLASSES) - tables.names


def scan_turn(rng, sensor, yaw, faces):
    """One turn of the scanner: points (N, 5), and the thing that each is on, -1 for the ground."""
    rays = aim(sensor, yaw, STEPS, 32)
    around = faces.seen_from(rays.origin)
    near, index, _ = cast(rays, around, reach=RANGE)
    points, face = scan(rng, rays, near, index, around)
    return points, np.where(face >= 0, around.fixed['owner'][face], -1)


def _take_pictures(rng, root, scene, frame, world, sensors, pose, faces, time):
    """Write the six pictures; returns (T, 2) how many pixels each thing has and would have."""
    place = float(world.ego['place'] + travelled(world.ego, time)[0])
    ground = Ground(world, faces, np.array(pose[:2]), place)
    facts, seen = scene.facts, np.zeros((len(world.things), 2), int)
    named = np.array([thing.name is not None for thing in world.things])
    for sensor in sensors[:-1]:
        rays = aim(sensor, pose[2], facts['width'], facts['height'])
        around = faces.seen_from(rays.origin)
        near, index, free = cast(rays, around, named)
        picture = paint_picture(rng, rays, near, index, around, ground, world.sun)
        write(root / file_name(scene.split, scene.index, sensor.name, frame, facts['sweeps'],
                               facts['sweeps']), picture)
        owners = around.fixed['owner'][index[index >= 0]]
        seen[:, 0] += np.bincount(owners, minlength=len(seen))
        for thing, count in free.items():
            seen[thing, 1] += count
    return seen
