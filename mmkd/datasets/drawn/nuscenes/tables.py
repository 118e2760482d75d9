"""nuScenes' thirteen tables: https://www.nuscenes.org/nuscenes#data-format."""
import hashlib

import numpy as np

from .naming import file_name, timestamp
from .sensors import CAMERAS, LIDAR
from .turns import about, matrix

TABLES = ('attribute', 'calibrated_sensor', 'category', 'ego_pose', 'instance', 'log', 'map',
          'sample', 'sample_annotation', 'sample_data', 'scene', 'sensor', 'visibility')
CATEGORIES = dict(
    car='vehicle.car', truck='vehicle.truck', trailer='vehicle.trailer', bus='vehicle.bus.rigid',
    construction_vehicle='vehicle.construction', bicycle='vehicle.bicycle',
    motorcycle='vehicle.motorcycle', pedestrian='human.pedestrian.adult',
    traffic_cone='movable_object.trafficcone', barrier='movable_object.barrier')
ATTRIBUTES = ('vehicle.moving', 'vehicle.stopped', 'vehicle.parked', 'cycle.with_rider',
              'cycle.without_rider', 'pedestrian.sitting_lying_down', 'pedestrian.standing',
              'pedestrian.moving')
VISIBILITIES = {'1': 'v0-40', '2': 'v40-60', '3': 'v60-80', '4': 'v80-100'}
MAP = 'maps/drawn.png'


def token(*words):
    """nuScenes' tokens are 32 hexadecimal digits."""
    return hashlib.md5('/'.join(map(str, words)).encode(), usedforsecurity=False).hexdigest()


def shared_records(log_tokens):
    """The tables that do not depend on the scene, and the map that all logs share."""
    return dict(
        category=[dict(token=token('category', name), name=name, description='')
                  for name in CATEGORIES.values()],
        attribute=[dict(token=token('attribute', name), name=name, description='')
                   for name in ATTRIBUTES],
        visibility=[dict(token=key, level=level, description='share of pixels not hidden, percent')
                    for key, level in VISIBILITIES.items()],
        sensor=[dict(token=token('sensor', name), channel=name,
                     modality='lidar' if name == LIDAR else 'camera')
                for name in (*CAMERAS, LIDAR)],
        map=[dict(token=token('map'), log_tokens=log_tokens, category='semantic_prior',
                  filename=MAP)])


def heading(yaw):
    """A turn around the vertical, as a table holds it."""
    return about((0, 0, 1), yaw).tolist()


class SceneTables:
    """Collects the rows of one scene while it is driven through.

    Args:
        scene (Scene): which one.
        world (World): what is in it.
        sensors (list of Sensor): of the car.
    """

    def __init__(self, scene, world, sensors):
        self.scene, self.world = scene, world
        self.samples, self.data, self.poses, self.annotations = [], {}, [], {}
        self.names = set()  # classes with an annotation
        self.sensor = sensors[-1]
        self.mounted = [dict(
            token=self.token('calibrated_sensor', sensor.name),
            sensor_token=token('sensor', sensor.name), translation=sensor.translation.tolist(),
            rotation=sensor.turn.tolist(),
            camera_intrinsic=[] if sensor.intrinsic is None else sensor.intrinsic.tolist())
            for sensor in sensors]

    def token(self, *words):
        """A token that no other scene or seed has."""
        return token(self.scene.facts['seed'], self.scene.split, self.scene.index, *words)

    def add_sample(self, frame):
        """Begin a keyframe."""
        sweeps = self.scene.facts['sweeps']
        self.samples.append(dict(
            token=self.token('sample', frame),
            timestamp=timestamp(self.scene.split, self.scene.index, frame, sweeps, sweeps),
            scene_token=self.token('scene')))

    def add_recording(self, channel, frame, number, pose):
        """A picture or a scan, taken at ``pose`` (x, y, yaw). Scans between keyframes belong to
        the one that follows, as nuscenes-devkit expects."""
        scene, facts = self.scene, self.scene.facts
        name = self.token('sample_data', channel, frame, number)
        time = timestamp(scene.split, scene.index, frame, number, facts['sweeps'])
        camera = channel != LIDAR
        self.poses.append(dict(token=name, timestamp=time, rotation=heading(pose[2]),
                               translation=[pose[0], pose[1], 0.]))
        self.data.setdefault(channel, []).append(dict(
            token=name, sample_token=self.token('sample', frame), ego_pose_token=name,
            calibrated_sensor_token=self.token('calibrated_sensor', channel), timestamp=time,
            fileformat='jpg' if camera else 'pcd', is_key_frame=number == facts['sweeps'],
            height=facts['height'] if camera else 0, width=facts['width'] if camera else 0,
            filename=file_name(scene.split, scene.index, channel, frame, number,
                               facts['sweeps'])))

    def annotate(self, frame, time, pose, points, seen):
        """Boxes of all things near the car that a point lies in.

        Args:
            frame (int): the keyframe.
            time (float): its seconds.
            pose: the car's x, y and yaw.
            points: (N, 5) of the keyframe's scan.
            seen: (T, 2) pixels that each thing has, and would have if nothing hid it.
        """
        places = self._to_world(points, pose)
        x, y, yaw, speed = self.world.poses(time)
        near = np.hypot(x - pose[0], y - pose[1]) <= self.scene.facts['reach']
        for index in np.flatnonzero(near).tolist():
            thing = self.world.things[index]
            if thing.name is None:
                continue
            center = np.array([x[index], y[index], thing.middle])
            count = count_points(places, center, thing.size, yaw[index])
            if count == 0:
                continue
            self.names.add(thing.name)
            share = seen[index, 0] / max(seen[index, 1], 1)
            self.annotations.setdefault(index, []).append(dict(
                token=self.token('sample_annotation', index, frame),
                sample_token=self.token('sample', frame),
                instance_token=self.token('instance', index),
                visibility_token=str(1 + int(np.searchsorted([0.4, 0.6, 0.8], share))),
                attribute_tokens=[token('attribute', name)
                                  for name in attributes(thing, speed[index])],
                translation=center.tolist(), size=thing.size.tolist(),
                rotation=heading(yaw[index]), num_lidar_pts=count, num_radar_pts=0))

    def _to_world(self, points, pose):
        """x, y, z (3, N) in the world of points (N, 5) in the scanner's frame."""
        on_car = points[:, :3].astype(float) @ matrix(self.sensor.turn).T
        car = matrix(heading(pose[2]))
        return car @ (on_car + self.sensor.translation).T + [[pose[0]], [pose[1]], [0.]]

    def records(self):
        """All rows of the scene, as dict table -> list."""
        self._chain(self.samples)
        for rows in (*self.data.values(), *self.annotations.values()):
            self._chain(rows)
        scene, log = self.token('scene'), self.token('log')
        return dict(
            log=[dict(token=log, logfile=f'drawn-{self.scene.split}-{self.scene.index:04d}',
                      vehicle='drawn', date_captured='2017-07-14', location='drawn')],
            scene=[dict(token=scene, log_token=log, nbr_samples=len(self.samples),
                        first_sample_token=self.samples[0]['token'],
                        last_sample_token=self.samples[-1]['token'], name=self.scene.name,
                        description='drawn, not recorded')],
            sample=self.samples, calibrated_sensor=self.mounted, ego_pose=self.poses,
            sample_data=[row for rows in self.data.values() for row in rows],
            sample_annotation=[row for rows in self.annotations.values() for row in rows],
            instance=[dict(token=self.token('instance', index),
                           category_token=token('category',
                                                CATEGORIES[self.world.things[index].name]),
                           nbr_annotations=len(rows), first_annotation_token=rows[0]['token'],
                           last_annotation_token=rows[-1]['token'])
                      for index, rows in self.annotations.items()])

    @staticmethod
    def _chain(rows):
        """Name each row's neighbours in time."""
        tokens = ['', *(row['token'] for row in rows), '']
        for row, before, after in zip(rows, tokens, tokens[2:], strict=False):
            row.update(prev=before, next=after)


def count_points(places, center, size, yaw):
    """How many points (3, N) lie in a box of ``size`` (width, length, height) at ``center``."""
    reach = np.hypot(size[0], size[1]) / 2
    close = np.flatnonzero(np.abs(places[0] - center[0]) <= reach)  # a few of many
    x, y, z = places[:, close] - center[:, None]
    ahead = x * np.cos(yaw) + y * np.sin(yaw)
    left = y * np.cos(yaw) - x * np.sin(yaw)
    width, length, height = size / 2
    return int(np.count_nonzero((np.abs(ahead) <= length) & (np.abs(left) <= width)
                                & (np.abs(z) <= height)))


def attributes(thing, speed):
    """Names of what an annotation says about a thing: one at most."""
    if thing.name in ('traffic_cone', 'barrier'):
        return []
    if thing.name in ('bicycle', 'motorcycle'):
        return ['cycle.with_rider' if thing.rider else 'cycle.without_rider']
    if thing.name == 'pedestrian':
        return ['pedestrian.moving' if speed > 0.3 else 'pedestrian.standing']
    if thing.path['speed'] == 0:
        return ['vehicle.parked']
    return ['vehicle.moving' if speed > 0.5 else 'vehicle.stopped']
