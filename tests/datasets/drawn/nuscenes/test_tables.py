"""The tables are those of nuScenes: complete, linked, and true to the drawn world."""
import collections
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import points_in_box
from pyquaternion import Quaternion

from .conftest import ARGUMENTS

REAL = Path(__file__).parents[5] / 'shared/real/nuscenes_frame'
TEN = {'car', 'truck', 'trailer', 'bus', 'construction_vehicle', 'bicycle', 'motorcycle',
       'pedestrian', 'traffic_cone', 'barrier'}
CAMERAS = {f'CAM_{place}' for place in (
    'FRONT', 'FRONT_RIGHT', 'FRONT_LEFT', 'BACK', 'BACK_LEFT', 'BACK_RIGHT')}


def tables(tree):
    return {path.stem: json.loads(path.read_text())
            for path in (tree.root / 'v1.0-trainval').glob('*.json')}


def test_all_tables_with_tokens_that_lead_somewhere(tree):
    """Of each field that ends with _token(s), every value is a row of the table it names."""
    held = tables(tree)
    assert set(held) == {'attribute', 'calibrated_sensor', 'category', 'ego_pose', 'instance',
                         'log', 'map', 'sample', 'sample_annotation', 'sample_data', 'scene',
                         'sensor', 'visibility'}
    known = {name: {row['token'] for row in rows} for name, rows in held.items()}
    for name, rows in held.items():
        assert len(known[name]) == len(rows) > 0, name
        for row in rows:
            for field, value in row.items():
                table = field.removesuffix('s').removesuffix('_token')
                if field.endswith(('_token', '_tokens')):
                    table = {'first_sample': 'sample', 'last_sample': 'sample',
                             'first_annotation': 'sample_annotation',
                             'last_annotation': 'sample_annotation'}.get(table, table)
                    values = value if isinstance(value, list) else [value]
                    assert set(values) <= known[table], (name, field)
    assert all((tree.root / row['filename']).is_file()
               for row in (*held['sample_data'], *held['map']))


def chains(rows):
    """Lists of rows that follow each other, by their prev and next."""
    by_token = {row['token']: row for row in rows}
    for row in rows:
        if row['prev'] == '':
            chain = [row]
            while chain[-1]['next']:
                after = by_token[chain[-1]['next']]
                assert after['prev'] == chain[-1]['token']
                chain.append(after)
            yield chain


def test_chains_run_forward_and_hold_all(tree):
    held = tables(tree)
    frames, scans = ARGUMENTS['keyframes'], ARGUMENTS['sweeps'] + 1
    samples = list(chains(held['sample']))
    assert [len(chain) for chain in samples] == [frames] * len(held['scene'])
    for scene, chain in zip(held['scene'], samples, strict=True):
        assert scene['first_sample_token'] == chain[0]['token']
        assert scene['last_sample_token'] == chain[-1]['token']
        assert scene['nbr_samples'] == frames
        assert {row['scene_token'] for row in chain} == {scene['token']}
        assert set(np.diff([row['timestamp'] for row in chain])) == {500_000}
    recordings = list(chains(held['sample_data']))
    assert sorted(len(chain) for chain in recordings) == sorted(
        len(held['scene']) * ([frames] * 6 + [frames * scans]))
    times = {row['token']: row['timestamp'] for row in held['sample']}
    for chain in recordings:
        steps = np.diff([row['timestamp'] for row in chain])
        assert abs(steps - 500_000 / (1 if len(chain) == frames else scans)).max() <= 1
        for row in chain:
            before = times[row['sample_token']] - row['timestamp']  # belongs to the next keyframe
            assert before == 0 if row['is_key_frame'] else 0 < before < 500_000
    instances = {row['token']: row for row in held['instance']}
    for chain in chains(held['sample_annotation']):
        instance = instances.pop(chain[0]['instance_token'])
        assert {row['instance_token'] for row in chain} == {instance['token']}
        assert instance['nbr_annotations'] == len(chain)
        assert instance['first_annotation_token'] == chain[0]['token']
        assert instance['last_annotation_token'] == chain[-1]['token']
        assert (np.diff([times[row['sample_token']] for row in chain]) > 0).all()
    assert not instances


def test_each_keyframe_has_seven_sensors(devkit):
    for sample in devkit.sample:
        assert set(sample['data']) == CAMERAS | {'LIDAR_TOP'}
        assert sample['anns']


def test_all_ten_classes_in_each_scene(devkit):
    seen = collections.defaultdict(set)
    for row in devkit.sample_annotation:
        scene = devkit.get('sample', row['sample_token'])['scene_token']
        seen[scene].add(category_to_detection_name(row['category_name']))
    assert list(seen.values()) == [TEN] * len(devkit.scene)


def test_points_are_counted_as_the_devkit_counts(devkit):
    for sample in devkit.sample:
        path, boxes, _ = devkit.get_sample_data(sample['data']['LIDAR_TOP'])
        points = LidarPointCloud.from_file(path).points[:3]
        for box in boxes:
            count = devkit.get('sample_annotation', box.token)['num_lidar_pts']
            assert count == points_in_box(box, points).sum() > 0


def simulated(tree, row):
    """World, thing and seconds of an annotation."""
    sample = tree.devkit.get('sample', row['sample_token'])
    scene = tree.devkit.get('scene', sample['scene_token'])
    first = tree.devkit.get('sample', scene['first_sample_token'])
    world = tree.worlds[scene['name']].world
    time = (sample['timestamp'] - first['timestamp']) / 1e6
    x, y, _, _ = world.poses(time)
    index = int(np.hypot(x - row['translation'][0], y - row['translation'][1]).argmin())
    return world, index, time


def test_velocities_are_those_of_the_simulation(tree):
    """Where the devkit has a keyframe on both sides, so that its difference is centered."""
    moving = 0
    for row in tree.devkit.sample_annotation:
        if not row['prev'] or not row['next']:
            continue
        world, index, time = simulated(tree, row)
        before, after = (np.stack(world.poses(time + step)[:2])[:, index]
                         for step in (-1e-3, 1e-3))
        velocity = (after - before) / 2e-3
        np.testing.assert_allclose(tree.devkit.box_velocity(row['token'])[:2], velocity,
                                   atol=0.15)
        moving += np.linalg.norm(velocity) > 1
        if np.linalg.norm(velocity) > 1:  # and things go where they look
            yaw = Quaternion(row['rotation']).yaw_pitch_roll[0]
            ahead = velocity @ [np.cos(yaw), np.sin(yaw)] / np.linalg.norm(velocity)
            assert ahead > 0.99
    assert moving > 10


def test_attributes_say_what_things_do(tree):
    held = collections.Counter()
    for row in tree.devkit.sample_annotation:
        world, index, time = simulated(tree, row)
        thing, speed = world.things[index], world.poses(time)[3][index]
        assert category_to_detection_name(row['category_name']) == thing.name
        names = [tree.devkit.get('attribute', token)['name'] for token in row['attribute_tokens']]
        held.update(names)
        if thing.name in ('traffic_cone', 'barrier'):
            assert names == []
        elif thing.name in ('bicycle', 'motorcycle'):
            assert names == [f'cycle.with{"" if thing.rider else "out"}_rider']
            assert thing.rider == (thing.path['speed'] != 0)
        elif thing.name == 'pedestrian':
            assert names == ['pedestrian.moving' if speed > 0.3 else 'pedestrian.standing']
        elif thing.path['speed'] == 0:
            assert names == ['vehicle.parked']
        else:
            assert names == ['vehicle.moving' if speed > 0.5 else 'vehicle.stopped']
    assert len(held) >= 5


def test_cameras_look_as_on_nuscenes_cars(devkit):
    """Their focal lengths are about 1260 pixels of 1600, 810 of the one at the back; axes and yaw
    are nuScenes' too."""
    for row in devkit.calibrated_sensor:
        rotation = Quaternion(row['rotation'])
        assert abs(rotation.norm - 1) < 1e-9
        name = devkit.get('sensor', row['sensor_token'])['channel']
        if name == 'LIDAR_TOP':
            assert np.allclose(rotation.rotate([0, 1, 0]), [1, 0, 0], atol=0.02)
            assert row['camera_intrinsic'] == []
            continue
        matrix = np.array(row['camera_intrinsic'])
        focal = matrix[[0, 1], [0, 1]] * 1600 / ARGUMENTS['width']
        assert np.abs(focal - (810 if name == 'CAM_BACK' else 1260)).max() < 20
        ahead = rotation.rotate([0, 0, 1])
        yaw = dict(FRONT=0, FRONT_LEFT=55, FRONT_RIGHT=-55, BACK=180, BACK_LEFT=110,
                   BACK_RIGHT=-110)[name.removeprefix('CAM_')]
        turn = np.degrees(np.arctan2(ahead[1], ahead[0])) - yaw
        assert abs((turn + 180) % 360 - 180) < 3
        assert rotation.rotate([0, 1, 0])[2] < -0.99  # down


@pytest.mark.skipif(not REAL.is_dir(), reason=f'{REAL} is not here: no real frame to compare with')
def test_calibration_is_like_that_of_a_real_frame(devkit):
    with open(next(REAL.glob('*.pkl')), 'rb') as file:
        real = pickle.load(file)['data_list'][0]
    places = {name: (image['cam2ego'], image['cam2img'])
              for name, image in real['images'].items()}
    places['LIDAR_TOP'] = real['lidar_points']['lidar2ego'], None
    for row in devkit.calibrated_sensor:
        matrix, intrinsic = places[devkit.get('sensor', row['sensor_token'])['channel']]
        matrix = np.array(matrix)
        between = Quaternion(row['rotation']).rotation_matrix.T @ matrix[:3, :3]
        assert np.degrees(np.arccos(min(1, (np.trace(between) - 1) / 2))) < 4
        assert np.abs(matrix[:3, 3] - row['translation']).max() < 0.06
        if intrinsic:
            mine, other = (np.array(matrix)[[0, 1, 0, 1], [0, 1, 2, 2]]
                           for matrix in (row['camera_intrinsic'], intrinsic))
            assert np.abs(mine * 1600 / ARGUMENTS['width'] / other - 1).max() < 0.05
