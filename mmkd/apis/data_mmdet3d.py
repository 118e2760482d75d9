"""What is in a data set of mmdet3d: sweeps of points, pictures, their calibration, boxes.

mmdet3d finds out in the middle of a training that a sweep is empty or a camera is missing.
"""
import copy
import os

import numpy as np
from mmengine.fileio import load

from .data_contents import look_for_files

_SAMPLES = 2000  # how many are looked into
_MATRICES = ('cam2img', 'lidar2cam')


def look(dataset, contents, cfg):
    """Add to the Contents what is in a ``Det3DDataset``."""
    try:
        infos = load(dataset.ann_file)['data_list']
        looked = infos[::max(1, len(infos) // _SAMPLES)]
        samples = [sample for info in copy.deepcopy(looked) for sample in _parsed(dataset, info)]
    except Exception as error:
        contents.problems.append(
            f'{contents.where}: {dataset.ann_file} cannot be read as its infos '
            f"({type(error).__name__}: {error}). mmdet3d's tools/create_data.py writes them")
        return
    contents.count = len(infos)
    if not infos:
        contents.problems.append(f'{contents.where}: {dataset.ann_file} names no sample')
        return
    prefix = dataset.data_prefix or {}
    if dataset.modality['use_lidar']:
        sweeps = [sample for sample in samples if 'lidar_path' in sample]
        look_for_files(contents, sweeps, 'lidar_path', f'sweeps that {dataset.ann_file} names',
                       'data_prefix.pts', prefix.get('pts'))
        _look_for_empty(contents, sweeps)
    if dataset.modality['use_camera']:
        _look_at_cameras(contents, samples, prefix)
    _look_at_boxes(contents, looked, getattr(dataset, 'label_mapping', {}))


def _parsed(dataset, info):
    found = dataset.parse_data_info(info)
    return found if isinstance(found, list) else [found]


def _look_for_empty(contents, sweeps):
    """Sweeps without a single point: a detector of points cannot read them."""
    empty = [sample['lidar_path'] for sample in sweeps if os.path.isfile(sample['lidar_path'])
             and os.path.getsize(sample['lidar_path']) < 4 * sample.get('num_pts_feats', 1)]
    if empty:
        contents.problems.append(f'{contents.where}: {len(empty)} of {len(sweeps)} sweeps have no '
                                 f'point, the first is {empty[0]}: leave these samples out of the '
                                 'info file, or write the sweeps again')


def _look_at_cameras(contents, samples, prefix):
    cameras = list(dict.fromkeys(name for sample in samples for name in sample.get('images', ())))
    alone = len({len(sample.get('images', ())) for sample in samples}) == 1 and len(
        samples[0].get('images', ())) == 1  # samples of one picture each
    for name in [] if alone else cameras:
        without = [sample for sample in samples if name not in sample.get('images', ())]
        if without:
            contents.problems.append(
                f"{contents.where}: {len(without)} of {len(samples)} samples have no camera "
                f"{name!r}, the first is {_called(without[0])} (it has "
                f"{', '.join(without[0].get('images', ())) or 'none'})")
    images = [dict(image, camera=name, sample=sample) for sample in samples
              for name, image in sample.get('images', {}).items()]
    look_for_files(contents, images, 'img_path', 'pictures', 'data_prefix', dict(prefix))
    for key in _MATRICES:
        wrong = [image for image in images if 'img_path' in image
                 and not _is_calibration(image.get(key))]
        if wrong:
            contents.problems.append(
                f"{contents.where}: {len(wrong)} of {len(images)} pictures have no {key} that is "
                f"finite and has an inverse, the first is {wrong[0]['camera']} of "
                f"{_called(wrong[0]['sample'])} ({key} is {wrong[0].get(key)}): without "
                'calibration an image has no place in space')


def _is_calibration(matrix):
    matrix = np.asarray(np.nan if matrix is None else matrix, dtype=float)
    if matrix.ndim != 2 or min(matrix.shape) < 3 or not np.isfinite(matrix).all():
        return False
    size = min(matrix.shape)
    return np.linalg.matrix_rank(matrix[:size, :size]) == size


def _look_at_boxes(contents, infos, mapping):
    boxes = [one for info in infos for one in info.get('instances', ())]
    broken = [info for info in infos for one in info.get('instances', ())
              if not np.isfinite(one.get('bbox_3d', 0.)).all()]
    if broken:
        contents.problems.append(f'{contents.where}: boxes of {len(broken)} samples are not finite,'
                                 f' the first of {_called(broken[0])}')
    empty = sum(not info.get('instances') for info in infos)
    if empty:
        contents.notes.append(f'{empty} of {len(infos)} samples have no box')
    unused = sum(mapping.get(one.get('bbox_label_3d'), 0) == -1 for one in boxes)
    if unused:
        contents.notes.append(f'{unused} of {len(boxes)} boxes are of none of the classes')


def _called(sample):
    return f"sample {sample.get('token', sample.get('sample_idx'))!r}"
