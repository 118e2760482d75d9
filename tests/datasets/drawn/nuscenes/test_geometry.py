"""Both sensors see one world: points lie in boxes, land on their own pixels, and move with it."""
import numpy as np
import pytest
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import points_in_box, view_points
from pyquaternion import Quaternion

from mmkd.datasets.drawn.nuscenes.cast import GROUND, SKY, cast
from mmkd.datasets.drawn.nuscenes.recording import SIGHT, scan_turn
from mmkd.datasets.drawn.nuscenes.sensors import aim

from .conftest import ARGUMENTS

SIZE = ARGUMENTS['width'], ARGUMENTS['height']


def keyframes(tree):
    """(sample, drawn, frame, faces) of all keyframes, as they were drawn."""
    for scene in tree.devkit.scene:
        drawn = tree.worlds[scene['name']]
        token, frame = scene['first_sample_token'], 0
        while token:
            sample = tree.devkit.get('sample', token)
            center = drawn.world.ego_pose(frame / 2)[:2]
            yield sample, drawn, frame, drawn.world.faces(frame / 2, center, SIGHT)
            token, frame = sample['next'], frame + 1


def points_of(tree, drawn, frame, sample, faces):
    """Points in the scanner's frame (N, 5), as in the file, and the thing of each."""
    yaw = drawn.world.ego_pose(frame / 2)[2]
    rng = drawn.spec.rng(drawn.attempt, frame, ARGUMENTS['sweeps'])
    points, things = scan_turn(rng, drawn.sensors[-1], yaw, faces)
    path = tree.devkit.get_sample_data_path(sample['data']['LIDAR_TOP'])
    assert np.array_equal(points, np.fromfile(path, np.float32).reshape(-1, 5))
    return points, things


def box_of_thing(drawn, frame, boxes, devkit):
    """Thing -> box of the devkit, by the place in the world."""
    x, y, _, _ = drawn.world.poses(frame / 2)
    found = {}
    for box in boxes:
        place = devkit.get('sample_annotation', box.token)['translation']
        found[int(np.hypot(x - place[0], y - place[1]).argmin())] = box
    assert len(found) == len(boxes)
    return found


def test_points_of_a_thing_lie_in_its_box_and_others_do_not(tree):
    inside = total = strangers = 0
    for sample, drawn, frame, faces in keyframes(tree):
        points, things = points_of(tree, drawn, frame, sample, faces)
        _, boxes, _ = tree.devkit.get_sample_data(sample['data']['LIDAR_TOP'])
        for thing, box in box_of_thing(drawn, frame, boxes, tree.devkit).items():
            held = points_in_box(box, points[:, :3].T)
            inside += (held & (things == thing)).sum()
            total += (things == thing).sum()
            strangers += (held & (things >= 0) & (things != thing)).sum()
    assert total > 5000 and inside >= 0.99 * total
    assert strangers < 0.01 * total


def test_points_land_on_pixels_of_their_own_thing(tree):
    """Projected by the devkit's formulas from what the tables say, away from outlines. The scanner
    sits above the cameras and looks past some things that hide others from them; what a camera
    does see is right without exception."""
    right, total = np.zeros(2, int), np.zeros(2, int)
    for sample, drawn, frame, faces in keyframes(tree):
        points, things = points_of(tree, drawn, frame, sample, faces)
        yaw = drawn.world.ego_pose(frame / 2)[2]
        world = to_world(tree.devkit, sample['data']['LIDAR_TOP'], points)
        for sensor in drawn.sensors[:-1]:
            pixels, depth = project(tree.devkit, sample['data'][sensor.name], world)
            owners, near = picture_of_things(sensor, yaw, faces)
            x, y = np.rint(pixels).astype(int)
            held = np.flatnonzero((depth > 0.5) & (x >= 1) & (x < SIZE[0] - 1) & (y >= 1)
                                  & (y < SIZE[1] - 1))
            x, y = x[held], y[held]
            block = np.stack([owners[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
            clear = (block == block[0]).all(0)
            visible = clear & (depth[held] * near[y, x] < 1.05)
            for i, chosen in enumerate((clear, visible)):
                right[i] += (block[0] == things[held])[chosen].sum()
                total[i] += chosen.sum()
    assert total[0] > 5000 and total[1] > 0.95 * total[0]
    assert right[0] >= 0.97 * total[0] and right[1] >= 0.999 * total[1]


def to_world(devkit, token, points):
    cloud = LidarPointCloud(points[:, :4].T.copy())
    data = devkit.get('sample_data', token)
    for row in (devkit.get('calibrated_sensor', data['calibrated_sensor_token']),
                devkit.get('ego_pose', data['ego_pose_token'])):
        cloud.points = cloud.points.astype(float)
        cloud.rotate(Quaternion(row['rotation']).rotation_matrix)
        cloud.translate(np.array(row['translation']))
    return cloud.points[:3]


def project(devkit, token, world):
    """Pixels (2, N) and depth (N,) of points (3, N) in the world."""
    data = devkit.get('sample_data', token)
    mounted = devkit.get('calibrated_sensor', data['calibrated_sensor_token'])
    points = world
    for row in (devkit.get('ego_pose', data['ego_pose_token']), mounted):
        points = points - np.array(row['translation'])[:, None]
        points = Quaternion(row['rotation']).rotation_matrix.T @ points
    return view_points(points, np.array(mounted['camera_intrinsic']), True)[:2], points[2]


def picture_of_things(sensor, yaw, faces):
    """The thing of each pixel (H, W), -1 for the ground, -2 for the sky; and 1 / depth."""
    rays = aim(sensor, yaw, *SIZE)
    near, index, _ = cast(rays, faces.seen_from(rays.origin))
    owners = np.where(index >= 0, faces.fixed['owner'][index], index)
    assert (SKY, GROUND) == (-2, -1)
    return owners, near


def test_boxes_sit_on_their_things_in_the_pictures(tree):
    shares = []
    for sample, drawn, frame, faces in keyframes(tree):
        yaw = drawn.world.ego_pose(frame / 2)[2]
        for sensor in drawn.sensors[:-1]:
            _, boxes, matrix = tree.devkit.get_sample_data(sample['data'][sensor.name])
            owners, _ = picture_of_things(sensor, yaw, faces)
            for thing, box in box_of_thing(drawn, frame, boxes, tree.devkit).items():
                y, x = np.nonzero(owners == thing)
                if len(x) < 60 or (box.corners()[2] < 0.5).any():
                    continue
                outline = view_points(box.corners(), matrix, True)[:2]
                low, high = outline.min(1), outline.max(1)
                assert low[0] - 0.5 <= x.min() and x.max() <= high[0] + 0.5
                assert low[1] - 0.5 <= y.min() and y.max() <= high[1] + 0.5
                row = tree.devkit.get('sample_annotation', box.token)
                inside = (low > 1).all() and (high < np.array(SIZE) - 2).all()
                if row['visibility_token'] == '4' and inside and len(x) > 200:
                    shares.append((np.ptp(x) + 1) * (np.ptp(y) + 1) / np.prod(high - low))
    assert len(shares) > 15 and np.median(shares) > 0.75 and min(shares) > 0.4


def test_sweeps_agree_with_the_keyframe_on_what_stands_still(tree):
    """Earlier scans, moved by the devkit as the car moved, lie in the boxes of parked things."""
    devkit, checked, kept = tree.devkit, 0, 0
    for sample, drawn, frame, _ in keyframes(tree):
        _, boxes, _ = devkit.get_sample_data(sample['data']['LIDAR_TOP'])
        cloud, age = LidarPointCloud.from_file_multisweep(
            devkit, sample, 'LIDAR_TOP', 'LIDAR_TOP', nsweeps=ARGUMENTS['sweeps'] + 1)
        assert set(np.round(np.unique(age), 3)) == {0., 0.167, 0.333}
        path = devkit.get_sample_data_path(sample['data']['LIDAR_TOP'])
        assert len(np.unique(np.fromfile(path, np.float32).reshape(-1, 5)[:, 4])) > 16
        for thing, box in box_of_thing(drawn, frame, boxes, devkit).items():
            if drawn.world.things[thing].path['speed']:
                continue
            high = cloud.points[:, (age[0] > 0.1)][:3]
            wide = box.copy()
            wide.wlh = box.wlh + [0.5, 0.5, 0.]
            above = high[2] > box.corners()[2].min() + 0.3  # without the ground
            near = points_in_box(wide, high) & above
            checked += near.sum()
            kept += (near & points_in_box(box, high)).sum()
    assert checked > 500 and kept > 0.95 * checked


@pytest.mark.parametrize('kind', ['camera', 'lidar'])
def test_rays_meet_what_a_plain_search_finds(tree, kind):
    """Each ray against each face: where it crosses the face's plane within the solid."""
    drawn = next(iter(tree.worlds.values()))
    pose = drawn.world.ego_pose(0.5)
    faces = drawn.world.faces(0.5, pose[:2], 40.)
    sensor = drawn.sensors[0 if kind == 'camera' else -1]
    rays = aim(sensor, pose[2], *((64, 36) if kind == 'camera' else (120, 32)))
    around = faces.seen_from(rays.origin)
    near, index, _ = cast(rays, around)
    directions = rays.directions().reshape(-1, 3).astype(float)
    best = np.where(directions[:, 2] < 0, -rays.origin[2] / np.minimum(directions[:, 2], -1e-9),
                    np.inf)
    for first, last in zip(around.starts, around.starts[1:], strict=False):
        normals, offsets = around.normals[first:last], around.offsets[first:last]
        for normal, offset in zip(normals, offsets, strict=True):
            with np.errstate(divide='ignore', invalid='ignore'):
                t = offset / (directions @ normal)
            points = directions * np.where(np.isfinite(t), t, -1)[:, None]
            held = (t > 0) & (points @ normals.T <= offsets + 1e-6).all(1)
            best = np.where(held, np.minimum(best, t), best)
    with np.errstate(divide='ignore'):
        found = 1 / near.ravel().astype(float)
    same = np.isclose(found, best, rtol=1e-3) | (np.isinf(found) & np.isinf(best))
    assert same.mean() > 0.998  # all but rays that graze an edge
    assert ((index.ravel() == SKY) == np.isinf(found)).all()
