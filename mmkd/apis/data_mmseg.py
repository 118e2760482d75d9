"""What is in a data set of mmseg: pictures with a mask each."""
import os

import numpy as np
from mmengine.registry import TRANSFORMS
from mmseg.datasets import BaseSegDataset

from ..utils.configs import type_name
from .data_contents import endings, look_for_files

_MASKS = 8  # how many are read


def look(dataset, contents, cfg):
    """Add to the Contents what is in a ``BaseSegDataset``."""
    load = _annotation_step(cfg)
    if type(dataset).load_data_list is BaseSegDataset.load_data_list:
        _look_for_files(dataset, contents, load is not None)
    if load is not None and not contents.problems:
        _look_at_masks(dataset, contents, load)


def _annotation_step(cfg):
    """The pipeline's own step that reads a mask, or None."""
    for step in cfg.get('pipeline') or ():
        if type_name(step) == 'LoadAnnotations':
            return TRANSFORMS.build(dict(step))
    return None


def _look_for_files(dataset, contents, with_masks):
    where, folder = contents.where, dataset.data_prefix.get('img_path') or ''
    try:
        samples = dataset.load_data_list()
    except Exception as error:
        contents.problems.append(f'{where}: {str(error) or type(error).__name__}')
        return
    contents.count = len(samples)
    contents.pictures = [sample['img_path'] for sample in samples if 'img_path' in sample]
    if not samples and dataset.ann_file and os.path.isfile(dataset.ann_file):
        contents.problems.append(f'{where}: {dataset.ann_file} names no picture')
    elif not samples:
        contents.problems.append(
            f'{where}: no picture in {folder} ends in {dataset.img_suffix!r}'
            + endings(folder, 'img_suffix'))
    of = f' that {dataset.ann_file} names' if os.path.isfile(dataset.ann_file) else ''
    look_for_files(contents, samples, 'img_path', f'pictures{of}', 'img_suffix',
                   dataset.img_suffix)
    if with_masks:
        look_for_files(contents, samples, 'seg_map_path', f'annotations{of}', 'seg_map_suffix',
                       dataset.seg_map_suffix)


def _look_at_masks(dataset, contents, load):
    """Read a few masks as the pipeline does."""
    if contents.classes is None:
        return
    samples = dataset.load_data_list()
    allowed = {*range(contents.classes), dataset.ignore_index, 255}
    for sample in samples[::max(1, -(-len(samples) // _MASKS))]:
        where = f"{contents.where}: {sample.get('seg_map_path')}"
        try:
            mask = load(dict(sample))['gt_seg_map']
        except Exception as error:
            contents.problems.append(f'{where} cannot be read ({type(error).__name__}: {error})')
            return
        if mask.ndim != 2:
            contents.problems.append(f'{where} has shape {mask.shape}: a mask holds one number '
                                     "per pixel, the class's index")
            return
        values = sorted(set(np.unique(mask).tolist()) - allowed)
        if values:
            contents.problems.append(
                f'{where} has the values {values[:8]}, but there are {contents.classes} classes, 0 '
                f'to {contents.classes - 1} (and {dataset.ignore_index} for what is ignored)')
            return
