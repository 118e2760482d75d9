"""One small tree for all tests of the drawn nuScenes."""
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from nuscenes.nuscenes import NuScenes

from mmkd.datasets.drawn import write_nuscenes
from mmkd.datasets.drawn.nuscenes.naming import Scene
from mmkd.datasets.drawn.nuscenes.recording import ATTEMPTS, start

ARGUMENTS = dict(train=2, val=1, keyframes=3, width=320, height=180, sweeps=2)


@pytest.fixture(scope='session')
def tree(tmp_path_factory):
    """Where the tree is, what nuscenes-devkit makes of it, and the worlds that it was drawn from
    (scene name -> split, index, attempt, world, sensors).

    It is drawn from a folder in which another package is called as mmdet3d's converters are.
    """
    folder = tmp_path_factory.mktemp('drawn')
    (folder / 'tools').mkdir()
    (folder / 'tools/__init__.py').write_text('raise SystemError("not the converters")')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv('PYTHONPATH', str(folder), prepend=os.pathsep)
        write_nuscenes('nuscenes', **ARGUMENTS, progress=False)
    root = folder / 'nuscenes'
    devkit = NuScenes('v1.0-trainval', str(root), verbose=False)
    facts = json.loads((root / 'drawn_scenes.json').read_text())
    counts, worlds = dict(train=0, val=0), {}
    for scene, log in zip(devkit.scene, devkit.log, strict=True):
        split = log['logfile'].split('-')[1]
        spec = Scene(split, counts[split], scene['name'], facts)
        counts[split] += 1
        worlds[scene['name']] = _world_of(devkit, scene, spec)
    return SimpleNamespace(root=root, devkit=devkit, worlds=worlds, facts=facts)


def _world_of(devkit, scene, spec):
    """The world whose car stood where the tables say, and at which try it was drawn."""
    sample = devkit.get('sample', scene['first_sample_token'])
    pose = devkit.get('ego_pose', devkit.get(
        'sample_data', sample['data']['LIDAR_TOP'])['ego_pose_token'])
    for attempt in range(ATTEMPTS):
        world, sensors = start(spec, attempt)
        if np.allclose(world.ego_pose(0)[:2], pose['translation'][:2]):
            return SimpleNamespace(spec=spec, attempt=attempt, world=world, sensors=sensors)
    raise AssertionError('no world fits the tables')


@pytest.fixture(scope='session')
def devkit(tree):
    return tree.devkit
