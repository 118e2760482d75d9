"""What is in a dataset: its pictures, its classes, and whether its annotations can be read."""
import os
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope

from ..utils.configs import type_name
from ..utils.hints import did_you_mean

_FILES, _MASKS = 5000, 8  # how many files are looked for, how many masks are read


@dataclass
class Contents:
    """What was found in a dataset.

    ``classes`` is its number of classes, or None if it does not say; ``problems`` are messages.
    """
    loader: str
    kind: str
    count: int = 0
    classes: int | None = None
    problems: list = field(default_factory=list)


def read_contents(cfg, loader, scope=None):
    """The Contents of one dataset; None for a dataset that keeps its files in its own way.

    Args:
        cfg (dict): The dataset's config.
        loader (str): How messages call where it stands.
        scope (str, optional): The config's default scope.
    """
    # Only libraries that are there are asked; another's dataset is no BaseSegDataset.
    from mmseg.datasets import BaseSegDataset
    with DefaultScope.overwrite_default_scope(scope), \
            DATASETS.switch_scope_and_registry(cfg.get('_scope_')) as registry:
        kind = cfg['type'] if isinstance(cfg.get('type'), type) else registry.get(
            str(cfg.get('type')))
        if not isinstance(kind, type) or not issubclass(kind, BaseSegDataset) \
                or cfg.get('backend_args'):
            return None
        contents = Contents(loader, kind.__name__)
        try:
            dataset = DATASETS.build(dict(cfg, lazy_init=True, pipeline=[]))
        except TypeError:  # a class of the user's with arguments of its own
            return None
        except Exception as error:
            contents.problems.append(f'{contents.kind} of {loader} cannot be built: '
                                     f'{str(error) or type(error).__name__}')
            return contents
        classes = dataset.metainfo.get('classes')
        contents.classes = len(classes) if classes else None
        load = _annotation_step(cfg)
        if type(dataset).load_data_list is BaseSegDataset.load_data_list:
            _look_for_files(dataset, contents, load is not None)
        if load is not None and not contents.problems:
            _look_at_masks(dataset, contents, load)
    return contents


def _annotation_step(cfg):
    """The pipeline's own step that reads a mask, or None."""
    for step in cfg.get('pipeline') or ():
        if type_name(step) == 'LoadAnnotations':
            return TRANSFORMS.build(dict(step))
    return None


def _look_for_files(dataset, contents, with_masks):
    where = f'{contents.kind} of {contents.loader}'
    folder = dataset.data_prefix.get('img_path') or ''
    try:
        samples = dataset.load_data_list()
    except Exception as error:
        contents.problems.append(f'{where}: {str(error) or type(error).__name__}')
        return
    contents.count = len(samples)
    if not samples and dataset.ann_file and os.path.isfile(dataset.ann_file):
        contents.problems.append(f'{where}: {dataset.ann_file} names no picture')
    elif not samples:
        contents.problems.append(
            f'{where}: no picture in {folder} ends in {dataset.img_suffix!r}'
            + _endings(folder, 'img_suffix'))
    looked = samples[::max(1, len(samples) // _FILES)]
    for key, suffix in (('img_path', 'img_suffix'),
                        *([('seg_map_path', 'seg_map_suffix')] if with_masks else [])):
        paths = [sample[key] for sample in looked if key in sample]
        lost = [path for path in paths if not os.path.exists(path)]
        if not lost:
            continue
        what = 'pictures' if key == 'img_path' else 'annotations'
        of = f' that {dataset.ann_file} names' if os.path.isfile(dataset.ann_file) else ''
        folder = os.path.dirname(lost[0])
        near = did_you_mean(os.path.basename(lost[0]), os.listdir(folder)) \
            if os.path.isdir(folder) and len(lost) < len(paths) else _endings(folder, suffix)
        contents.problems.append(
            f'{where}: {len(lost)} of {len(paths)} {what}{of} do not exist, the first is '
            f'{lost[0]}{near} ({suffix} is {getattr(dataset, suffix)!r})')


def _endings(folder, key):
    """What the files of a folder end in, as a cure."""
    names = [name for _, _, files in os.walk(folder) for name in files][:_FILES]
    if not names:
        return f'; there is no file in {folder}'
    ending, count = Counter(os.path.splitext(name)[1] for name in names).most_common(1)[0]
    example = sorted(name for name in names if name.endswith(ending))[0]
    return f'; {count} of its files end in {ending!r}, as {example}: set {key}'


def _look_at_masks(dataset, contents, load):
    """Read a few masks as the pipeline does."""
    if contents.classes is None:
        return
    samples = dataset.load_data_list()
    allowed = {*range(contents.classes), dataset.ignore_index, 255}
    for sample in samples[::max(1, -(-len(samples) // _MASKS))]:
        where = f"{contents.kind} of {contents.loader}: {sample.get('seg_map_path')}"
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
