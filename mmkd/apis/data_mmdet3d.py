"""What is in a data set of mmdet3d: pictures, their calibration, boxes; sweeps: ``data_sweeps``.

mmdet3d finds out in the middle of a training that a sweep is empty or a camera is missing.
"""
import copy

import numpy as np
from mmengine.fileio import load

from ..utils.configs import type_name
from .data_contents import look_for_files
from .data_sweeps import look_at_sweeps
from .scenes import unread

_SAMPLES = 2000  # how many are looked into
_MATRICES = ('cam2img', 'lidar2cam')
#: modality -> (key of a sample's info that it needs, what it is)
_NEEDS = dict(use_lidar=('lidar_points', 'points'), use_camera=('images', 'images'))


def look(dataset, contents, cfg):
    """Add to the Contents what is in a ``Det3DDataset``."""
    try:
        infos = load(dataset.ann_file)['data_list']
        looked = infos[::max(1, len(infos) // _SAMPLES)]
        if _lacks_modality(dataset, contents, looked):
            return
        samples = [sample for info in copy.deepcopy(looked) for sample in _parsed(dataset, info)]
    except Exception as error:
        contents.problems.append(
            f'{contents.where}: {dataset.ann_file} cannot be read as its infos '
            f"({type(error).__name__}: {error}). mmdet3d's tools/create_data.py writes them")
        return
    contents.count, contents.what = len(infos), 'samples'
    if not infos:
        contents.problems.append(f'{contents.where}: {dataset.ann_file} names no sample')
        return
    steps = [step for step in cfg.get('pipeline') or () if isinstance(step, dict)]
    prefix, useless = dataset.data_prefix or {}, unread(steps)
    if dataset.modality['use_lidar'] and 'points' not in useless:
        look_at_sweeps(contents, samples, steps, dataset.ann_file, prefix)
    if dataset.modality['use_camera'] and 'img' not in useless:
        _look_at_cameras(contents, samples, steps, prefix)
    _look_at_boxes(contents, looked, samples, dataset)


def _lacks_modality(dataset, contents, infos):
    """Note samples whose info does not have what the data set's modality says."""
    for key, (needed, what) in _NEEDS.items():
        without = [info for info in infos if not info.get(needed)] if dataset.modality[key] else ()
        if without:
            contents.problems.append(
                f'{contents.where}: {len(without)} of {len(infos)} samples of {dataset.ann_file} '
                f'have no {needed!r}, the first is {called(without[0])}: without it they have no '
                f"{what}. mmdet3d's tools/create_data.py writes it; leave such samples out, or set "
                f'modality=dict({key}=False, ...) of the data set if nothing reads {what}')
    return bool(contents.problems)


def _parsed(dataset, info):
    found = dataset.parse_data_info(info)
    return found if isinstance(found, list) else [found]


def _look_at_cameras(contents, samples, steps, prefix):
    there = list(dict.fromkeys(name for sample in samples for name in sample.get('images', ())))
    used = _used_cameras(steps)
    alone = used is None and {len(sample.get('images', ())) for sample in samples} == {1}
    for name in [] if alone else used or there:  # alone: samples of one picture each
        without = [sample for sample in samples if name not in sample.get('images', ())]
        if without:
            contents.problems.append(
                f"{contents.where}: {len(without)} of {len(samples)} samples have no camera "
                f"{name!r}, the first is {called(without[0])} (it has "
                f"{', '.join(without[0].get('images', ())) or 'none'}). Leave such samples out of "
                'the info file, or name the cameras that all have: LoadCameraImages(cameras=[...])')
    images = [dict(image, camera=name, sample=sample) for sample in samples
              for name, image in sample.get('images', {}).items()
              if used is None or name in used]
    for name in used or there:
        key = name if name in prefix else 'img'
        look_for_files(contents, [image for image in images if image['camera'] == name],
                       'img_path', f'pictures of {name}', f'data_prefix.{key}', prefix.get(key))
    for key in _MATRICES:
        wrong = [image for image in images if 'img_path' in image
                 and not _is_calibration(image.get(key))]
        if wrong:
            contents.problems.append(
                f"{contents.where}: {len(wrong)} of {len(images)} pictures have no {key} that is "
                f"finite and has an inverse, the first is {wrong[0]['camera']} of "
                f"{called(wrong[0]['sample'])} ({key} is {wrong[0].get(key)}): without "
                "calibration an image has no place in space. mmdet3d's tools/create_data.py "
                'writes it; else leave such samples out of the info file')


def _used_cameras(steps):
    """The cameras that the pipeline names; None where it takes what a sample has."""
    for step in steps:
        if type_name(step) == 'LoadCameraImages' and step.get('cameras'):
            return list(step['cameras'])
    return None


def _is_calibration(matrix):
    matrix = np.asarray(np.nan if matrix is None else matrix, dtype=float)
    if matrix.ndim != 2 or min(matrix.shape) < 3 or not np.isfinite(matrix).all():
        return False
    size = min(matrix.shape)
    return np.linalg.matrix_rank(matrix[:size, :size]) == size


def _look_at_boxes(contents, infos, samples, dataset):
    boxes = [one for info in infos for one in info.get('instances', ())]
    broken = [info for info in infos for one in info.get('instances', ())
              if not np.isfinite(one.get('bbox_3d', 0.)).all()]
    if broken:
        contents.problems.append(f'{contents.where}: boxes of {len(broken)} samples are not finite,'
                                 f' the first of {called(broken[0])}')
    left_out = not dataset.test_mode and dataset.filter_empty_gt
    empty = sum(not info.get('instances') for info in infos)
    if empty:
        contents.notes.append(f'{empty} of {len(infos)} samples have no box'
                              + (' and are left out (filter_empty_gt)' if left_out else ''))
    if left_out and all('ann_info' in sample and not len(sample['ann_info']['gt_labels_3d'])
                        for sample in samples):
        contents.problems.append(
            f'{contents.where}: no sample has a box of the classes that counts, and such samples '
            'are left out of the training: set filter_empty_gt=False to train on them, or look '
            'whether the info file has instances, and points or use_valid_flag for them')
    mapping = getattr(dataset, 'label_mapping', {})
    unused = sum(mapping.get(one.get('bbox_label_3d'), 0) == -1 for one in boxes)
    if unused:
        contents.notes.append(f'{unused} of {len(boxes)} boxes are of none of the classes')


def called(sample):
    """How messages call a sample."""
    return f"sample {sample.get('token', sample.get('sample_idx'))!r}"
