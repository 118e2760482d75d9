"""The same arguments give the same files; other people's files are safe; mistakes are told."""
import builtins
import hashlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmkd.datasets.drawn import write_nuscenes
from mmkd.datasets.drawn.nuscenes import infos, recording, writing

from .conftest import ARGUMENTS

TINY = dict(train=1, val=1, keyframes=2, width=96, height=54, sweeps=0, infos=False,
            progress=False)
TOOLS = Path(__file__).parents[4] / 'tools'


def digests(root):
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in Path(root).rglob('*') if path.is_file()}


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    return Path(write_nuscenes(tmp_path_factory.mktemp('tiny') / 'set', **TINY))


def test_two_workers_and_another_number_of_scenes_change_nothing(tree, tmp_path):
    """Drawn again by processes side by side, without the second training scene."""
    root = tmp_path / 'again'
    write_nuscenes(root, **dict(ARGUMENTS, train=1), infos=False, workers=2, progress=False)
    recorded, before = digests(root), digests(tree.root)
    shared = [name for name in recorded if name.startswith(('samples/', 'sweeps/'))]
    scans = ARGUMENTS['keyframes'] * (ARGUMENTS['sweeps'] + 1)
    assert len(shared) == 2 * (scans + 6 * ARGUMENTS['keyframes'])
    assert all(recorded[name] == before[name] for name in shared)
    for table in ('sample_annotation', 'calibrated_sensor', 'ego_pose'):
        few, all_rows = (json.loads((place / f'v1.0-trainval/{table}.json').read_text())
                         for place in (root, tree.root))
        assert len(few) < len(all_rows) and all(row in all_rows for row in few)


def test_all_files_are_those_that_the_note_accounts_for(tree, tiny):
    for root in (tree.root, tiny):
        note = json.loads((root / 'drawn_scenes.json').read_text())
        assert writing._all_files(note) | {'drawn_scenes.json'} == set(digests(root))
    assert not any(name.endswith('.pkl') for name in digests(tiny))


def test_other_seeds_and_splits_give_other_worlds(tiny, tmp_path):
    other = digests(write_nuscenes(tmp_path / 'other', **TINY, seed=1))
    before = digests(tiny)
    names = [name for name in before if name.startswith('samples/')]
    assert all(other[name] != before[name] for name in names)
    assert len({before[name] for name in names}) == len(names)


def test_a_finished_tree_is_left_and_an_unfinished_one_is_drawn_again(tiny, tmp_path):
    root = tmp_path / 'set'
    write_nuscenes(root, **TINY)
    times = {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    write_nuscenes(root, **TINY)
    assert times == {path: path.stat().st_mtime_ns for path in root.rglob('*')}
    next(root.glob('samples/CAM_BACK/*')).unlink()
    write_nuscenes(root, **TINY)
    assert digests(root) == digests(tiny)
    write_nuscenes(root, **dict(TINY, keyframes=1))
    assert len(list(root.glob('samples/*/*'))) == 2 * 7


def test_other_files_are_never_touched(tmp_path):
    root = tmp_path / 'set'
    root.mkdir()
    (root / 'mine.txt').write_text('mine')
    with pytest.raises(ValueError, match='holds other files'):
        write_nuscenes(root, **TINY)
    assert digests(root).keys() == {'mine.txt'}
    (root / 'mine.txt').unlink()
    write_nuscenes(root, **TINY)
    (root / 'samples/mine.txt').write_text('mine')
    before = digests(root)
    with pytest.raises(ValueError, match='other origin'):
        write_nuscenes(root, **TINY, seed=1)
    assert digests(root) == before


@pytest.mark.parametrize('change, message', [
    (dict(train=0), 'train=0: expected a whole number of scenes'),
    (dict(val=2.5), 'val=2.5: expected a whole number of scenes'),
    (dict(train=9, version='v1.0-mini'), 'v1.0-mini has 8 train scenes'),
    (dict(val=3, version='v1.0-mini'), 'v1.0-mini has 2 val scenes'),
    (dict(train=701), 'v1.0-trainval has 700 train scenes'),
    (dict(version='v1.0-test'), "version='v1.0-test': expected one of"),
    (dict(keyframes=0), 'keyframes=0: expected a whole number, 1 or more'),
    (dict(keyframes=1.5), 'keyframes=1.5'),
    (dict(sweeps=-1), 'sweeps=-1'),
    (dict(sweeps=10), 'sweeps=10: expected 9 at most'),
    (dict(reach=5), 'reach=5: expected 20 to 55 metres'),
    (dict(reach=float('nan')), 'reach=nan'),
    (dict(width=8), 'width=8'),
    (dict(seed=-1), 'seed=-1'),
    (dict(workers=0), 'workers=0')])
def test_bad_arguments_are_told_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_nuscenes(tmp_path / 'set', **dict(TINY, **change))
    assert not (tmp_path / 'set').exists()


def test_what_is_missing_is_named_before_anything_is_drawn(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(infos, 'find_spec', lambda name: None if name == 'mmdet3d' else find(name))
    with pytest.raises(RuntimeError, match='info files need mmdet3d 1.4'):
        write_nuscenes(tmp_path / 'set', **dict(TINY, infos=True))
    importing = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith('nuscenes'):
            raise ImportError(f'No module named {name!r}')
        return importing(name, *args, **kwargs)
    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(RuntimeError, match='pip install nuscenes-devkit'):
        write_nuscenes(tmp_path / 'set', **TINY)
    assert not (tmp_path / 'set').exists()


def test_what_the_converter_says_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(infos, '_PROGRAM', 'raise SystemExit("it broke here")')
    with pytest.raises(RuntimeError, match=f'converter failed on {tmp_path}:\nit broke here'):
        infos.write_infos(tmp_path, 'v1.0-trainval')
    assert not list(tmp_path.iterdir())


def test_the_other_layouts_need_none_of_it():
    """Neither nuscenes-devkit, nor what it brings along, nor mmdet3d is imported to draw others."""
    code = ('import sys; sys.modules.update(dict.fromkeys(("nuscenes", "pyquaternion", "mmdet3d", '
            '"shapely")))\nimport mmkd.datasets.drawn')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_scene_without_a_class_is_drawn_anew(monkeypatch, tmp_path):
    """And given up at last, with what to do."""
    tries = []

    def record(root, scene, attempt):
        tries.append(attempt)
        return None, {'bus'}
    monkeypatch.setattr(recording, '_record', record)
    with pytest.raises(RuntimeError, match='no bus was seen within 31.0 m .* raise reach'):
        write_nuscenes(tmp_path / 'set', **TINY)
    assert tries == list(range(recording.ATTEMPTS))


def test_the_command(tmp_path):
    def run(*words):
        return subprocess.run([sys.executable, str(TOOLS / 'make_nuscenes.py'), *words],
                              cwd=tmp_path, capture_output=True, text=True)
    done = run('set', '--train', '1', '--val', '1', '--keyframes', '1', '--size', '96x54',
               '--sweeps', '0', '--version', 'v1.0-mini', '--no-infos')
    assert done.returncode == 0 and "data_root='set'" in done.stdout, done.stderr
    assert len(list((tmp_path / 'set/samples').glob('*/*'))) == 14
    names = {row['name'] for row in json.loads(
        (tmp_path / 'set/v1.0-mini/scene.json').read_text())}
    assert names == {'scene-0061', 'scene-0103'}
    done = run('set', '--keyframes', '0')
    assert done.returncode == 2 and 'keyframes=0' in done.stderr
