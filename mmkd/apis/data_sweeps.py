"""The files of points of a data set of mmdet3d: are they there, whole, and of numbers?"""
import os

import numpy as np

from ..utils.configs import type_name
from .data_contents import look_for_files

_SIZES = 5000  # of how many files the size is looked at
_READ = 8  # how many are read
#: a step that loads points -> what its load_dim is if it does not say, as in mmdet3d
_LOADS = dict(LoadPointsFromFile=6, LoadPointsFromMultiSweeps=5)


def look_at_sweeps(contents, samples, steps, file, prefix):
    """Add to the Contents what is wrong with the points of ``samples``.

    Args:
        contents (Contents): Of the data set.
        samples (list of dict): As the data set parses them.
        steps (list of dict): Its pipeline.
        file (str): Its file of infos, for messages.
        prefix (dict): Its data_prefix.
    """
    scans = [sample for sample in samples if 'lidar_path' in sample]
    before = [sweep['lidar_points'] for sample in samples
              for sweep in sample.get('lidar_sweeps', ())]
    loads = {type_name(step): step for step in steps if type_name(step) in _LOADS}
    look_for_files(contents, scans, 'lidar_path', f'sweeps that {file} names', 'data_prefix.pts',
                   prefix.get('pts'))
    if 'LoadPointsFromMultiSweeps' in loads:
        look_for_files(contents, before, 'lidar_path', f'earlier sweeps that {file} names',
                       'data_prefix.sweeps', prefix.get('sweeps'))
    for kind, files in dict(LoadPointsFromFile=scans, LoadPointsFromMultiSweeps=before).items():
        step = loads.get(kind)
        if step is not None and not step.get('backend_args'):
            paths = [one['lidar_path'] for one in files[::max(1, len(files) // _SIZES)]]
            paths = [path for path in paths if path.endswith('.bin') and os.path.isfile(path)]
            whole = _look_at_sizes(contents, paths, step.get('load_dim', _LOADS[kind]), kind)
            _look_for_numbers(contents, whole, step, _LOADS[kind], steps)


def _look_at_sizes(contents, paths, count, kind):
    """Note files that are no rows of ``count`` float32; return the others."""
    cut = {path: size for path in paths if (size := os.path.getsize(path)) % (4 * count)}
    if cut:
        path, size = next(iter(cut.items()))
        contents.problems.append(
            f'{contents.where}: {len(cut)} of {len(paths)} sweeps are no points of {count} '
            f'float32, as {kind} reads them (load_dim={count}), the first is {path} with {size} '
            'bytes: is it cut off, or does a point have another number of values?')
    return [path for path in paths if path not in cut]


def _look_for_numbers(contents, paths, step, default, steps):
    """Note points that are not finite in what is used of them."""
    used = step.get('use_dim', [0, 1, 2])
    used = list(range(used)) if isinstance(used, int) else list(used)
    filtered = any(type_name(one) == 'PointsRangeFilter' for one in steps)
    found = {}
    for path in paths[::max(1, len(paths) // _READ)][:_READ]:
        points = np.fromfile(path, np.float32).reshape(-1, step.get('load_dim', default))
        if filtered:  # which drops points that have no place
            points = points[np.isfinite(points[:, :3]).all(1)]
        wrong = ~np.isfinite(points[:, [i for i in used if i < points.shape[1]]]).all(1)
        if wrong.any():
            found[path] = f'{wrong.sum()} of {len(wrong)}'
    if found:
        path, some = next(iter(found.items()))
        contents.problems.append(
            f'{contents.where}: there are points with values that are not finite (NaN or infinite),'
            f' {some} in {path}: a network that reads them learns nothing more. Write the sweeps '
            'without them; of points whose x, y or z is not finite, PointsRangeFilter in the '
            'pipeline is enough')
