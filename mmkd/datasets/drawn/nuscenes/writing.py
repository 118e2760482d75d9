"""Writes drawn drives in nuScenes' layout, with mmdet3d's info files."""
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..trees import FILES, claim, tree_facts, write, write_note
from .infos import INFOS, find_converter, write_infos
from .naming import Scene, scene_files
from .recording import record_scene
from .sensors import LIDAR
from .tables import MAP, TABLES, shared_records

#: version -> the lists in nuscenes-devkit that have the names of training and validation scenes
SPLIT_NAMES = {'v1.0-mini': ('mini_train', 'mini_val'), 'v1.0-trainval': ('train', 'val')}


def write_nuscenes(root, train=10, val=2, keyframes=40, width=352, height=198, sweeps=2, seed=0,
                   reach=31., version='v1.0-trainval', infos=True, workers=1, progress=True):
    """Drives as nuScenes stores them: tables, six cameras, LIDAR_TOP, and mmdet3d's info files.

    A scene depends on (seed, split, index) alone. In each, each of the ten detection classes is
    annotated. Boxes lie 5 cm outside of the things' surface. All sensors of a keyframe share its
    time; keyframes are half a second apart.

    Args:
        root (str): the tree's root, ``data_root`` of the dataset.
        train (int): scenes to train on.
        val (int): scenes to validate on.
        keyframes (int): annotated moments of each scene.
        width (int): width of the pictures; intrinsics scale with it.
        height (int): of them (nuScenes' own are 1600 x 900).
        sweeps (int): scans of the laser before each keyframe, spread evenly over the half second
            (nuScenes has 9 or 10).
        seed (int): source of every choice.
        reach (float): metres from the car within which things are annotated.
        version (str): 'v1.0-trainval', which is what mmdet3d assumes, or 'v1.0-mini' (8 and 2
            scenes at most).
        infos (bool): write ``nuscenes_infos_{train,val}.pkl``; needs mmdet3d and nuscenes-devkit.
        workers (int): processes that draw, a scene each.
        progress (bool): show a progress bar.

    Returns:
        str: ``data_root`` for mmdet3d's config.

    Raises:
        ValueError: on sizes or counts that make no sense, or if the folder holds other files.
        RuntimeError: if nuscenes-devkit or mmdet3d is needed and missing, or mmdet3d's converter
            fails.
    """
    root = Path(root)
    facts = _checked(dict(train=train, val=val), width, height, seed, keyframes=keyframes,
                     sweeps=sweeps, reach=reach, version=version, infos=infos)
    if int(workers) != workers or workers < 1:
        raise ValueError(f'workers={workers}: expected a whole number of processes, at least 1')
    names = _scene_names(version, facts['counts'])
    if infos:
        find_converter()  # not after minutes of drawing
    if not claim(root, facts):
        return str(root)
    scenes = [Scene(split, index, name, facts) for split in facts['counts']
              for index, name in enumerate(names[split])]
    records = _record_all(root, scenes, workers, progress)
    (root / 'sweeps' / LIDAR).mkdir(parents=True, exist_ok=True)  # configs name it
    write(root / MAP, np.full((64, 64), 255, np.uint8))
    (root / version).mkdir(exist_ok=True)
    shared = shared_records([row['token'] for tables in records for row in tables['log']])
    for table in TABLES:
        rows = shared.get(table) or [row for tables in records for row in tables[table]]
        (root / version / f'{table}.json').write_text(json.dumps(rows))
    if infos:
        if progress:
            tqdm.write("mmdet3d's converter writes the info files", file=sys.stderr)
        write_infos(root, version, max_sweeps=sweeps + 1 if sweeps else 0)
    write_note(root, facts, finished=True)
    return str(root)


def _checked(counts, width, height, seed, **more):
    """The facts of the tree."""
    for name, least in (('keyframes', 1), ('sweeps', 0)):
        value = more[name]
        if int(value) != value or value < least:
            raise ValueError(f'{name}={value}: expected a whole number, {least} or more')
        more[name] = int(value)
    if more['sweeps'] > 9:
        raise ValueError(f'sweeps={more["sweeps"]}: expected 9 at most (20 scans a second)')
    if not 20 <= more['reach'] <= 55:
        raise ValueError(f'reach={more["reach"]}: expected 20 to 55 metres')
    if more['version'] not in SPLIT_NAMES:
        raise ValueError(f'version={more["version"]!r}: expected one of '
                         f'{", ".join(sorted(SPLIT_NAMES))}')
    more.update(reach=float(more['reach']), infos=bool(more['infos']))
    return tree_facts('nuscenes', counts, width, height, seed, 'scenes', **more)


def _scene_names(version, counts):
    """nuScenes' names of as many scenes as are wanted, by split."""
    try:
        from nuscenes.utils import splits
    except ImportError as error:
        raise RuntimeError('the names of nuScenes\' scenes are in nuscenes-devkit, which is not '
                           f'installed ({error}): pip install nuscenes-devkit') from error
    names = {}
    for (split, count), key in zip(counts.items(), SPLIT_NAMES[version], strict=True):
        known = getattr(splits, key)
        if count > len(known):
            raise ValueError(f'{split}={count}: {version} has {len(known)} {split} scenes'
                             + ("; version='v1.0-trainval' has more" if 'mini' in version else ''))
        names[split] = known[:count]
    return names


def _record_all(root, scenes, workers, progress):
    """Rows of all scenes, in order."""
    bar = tqdm(total=len(scenes), desc=f'drawing {root}', unit='scene', disable=not progress)
    records = [None] * len(scenes)
    with bar:
        if workers == 1:
            for index, scene in enumerate(scenes):
                records[index] = record_scene(str(root), scene)
                bar.update()
            return records
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context('fork' if 'fork' in methods else None)
        with ProcessPoolExecutor(min(workers, len(scenes)), context, cv2.setNumThreads,
                                 (0,)) as pool:
            jobs = [pool.submit(record_scene, str(root), scene) for scene in scenes]
            try:
                for index, job in enumerate(jobs):
                    records[index] = job.result()
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return records


def _all_files(facts):
    files = {f'{facts["version"]}/{table}.json' for table in TABLES} | {MAP}
    files.update(INFOS if facts['infos'] else ())
    for split, count in facts['counts'].items():
        for index in range(count):
            files.update(scene_files(split, index, facts))
    return files


FILES['nuscenes'] = _all_files
