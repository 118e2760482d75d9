"""The methods' metafiles: reading, writing, and the part of them that configs decide.

A ``configs/<task>/<method>/metafile.yml`` is in OpenMMLab's form (mim reads it). Written by
hand are names, papers, published numbers and notes; ``Metadata`` is derived from the config, and
``Ours`` is written by ``tools/report.py --record`` alone.
"""
import ast
import contextlib
import functools
import glob
import importlib.util
import os
import re

import yaml
from mmengine.config import utils as mmengine_config_utils

from ..utils.configs import read_config
from ..utils.recipes import TASKS
from .metrics import METRICS, metric_of

NOT_RUN = 'not run'
EVIDENCE = ('Log', 'Git SHA', 'Seed', 'Checkpoint SHA256')


class _Dumper(yaml.SafeDumper):
    """Lists indented under their key, as OpenMMLab's metafiles have them."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data):
        return True


def metafile_paths(configs):
    return _of_methods(configs, 'metafile.yml')


def leaf_paths(configs):
    """The configs that need a row in a metafile."""
    return _of_methods(configs, '*.py')


def _of_methods(configs, pattern):
    return [path for task in TASKS
            for path in sorted(glob.glob(os.path.join(configs, task, '*', pattern)))]


def read_metafiles(configs):
    """{path: content} of every metafile under the folder ``configs``.

    Raises:
        ValueError: One of them is no metafile.
    """
    return {path: read_metafile(path) for path in metafile_paths(configs)}


def read_metafile(path):
    """The content of one metafile."""
    with open(path, encoding='utf-8') as file:
        try:
            data = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ValueError(f'{path} is no YAML: {error}') from None
    if not isinstance(data, dict) or set(data) != {'Collections', 'Models'}:
        raise ValueError(f'{path} must have Collections and Models, nothing else')
    for model in data['Models']:
        missing = [key for key in ('Name', 'In Collection', 'Config', 'Results')
                   if not model.get(key)]
        if missing:
            raise ValueError(f"{path}: model {model.get('Name')!r} has no {', '.join(missing)}")
    return data


def result_problems(result):
    """What is wrong with one entry of ``Results``, one line each."""
    try:
        metric = metric_of(result)
    except ValueError as error:
        return [str(error)]
    numbers, ours = result.get('Metrics') or {}, result.get('Ours')
    # A source may give none for its teacher or for the student alone, and there may be none at all.
    lines = [f'{key!r} is not a number' for key in metric.published if numbers
             and not isinstance(numbers.get(key), float)
             and (key == metric.published[-1] or key in numbers)]
    if ours == NOT_RUN:
        return lines
    if not isinstance(ours, dict) or not isinstance(ours.get(metric.name), float):
        return [*lines, f'Ours is neither {NOT_RUN!r} nor a measured {metric.name}']
    evidence = ours.get('Evidence') or {}
    missing = [key for key in EVIDENCE if evidence.get(key) in (None, '')]
    if missing:
        lines.append(f"our {ours[metric.name]} has no {', '.join(missing)}; record it with "
                     '--record')
    return lines


def dump(data):
    """The text of a metafile."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)


def write_if_changed(path, text):
    """Whether ``path`` held another text, which is then replaced in one piece."""
    if os.path.isfile(path):
        with open(path, encoding='utf-8') as file:
            if file.read() == text:
                return False
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f'{path}.partial', 'w', encoding='utf-8') as file:
        file.write(text)
    os.replace(f'{path}.partial', path)
    return True


@contextlib.contextmanager
def zoo_indices_read_once():
    """While it lasts, many configs are read quickly.

    For every ``mmseg::`` or ``mmdet::`` base, mmengine parses all of the library's metafiles
    again (half a second).
    """
    load = mmengine_config_utils.load
    mmengine_config_utils.load = functools.cache(load)
    try:
        yield
    finally:
        mmengine_config_utils.load = load


# ---- what the config decides ---------------------------------------------------------------
def derive(path, root):
    """The ``Metadata`` of a leaf config.

    Args:
        path (str): The config file.
        root (str): The repository; paths are written relative to it.
    """
    cfg = read_config(path)
    gpus = re.search(r'_(\d+)xb\d+-', os.path.basename(path))
    return {
        'Training Data': _data_name(cfg.train_dataloader.dataset),
        'Batch Size': (int(gpus[1]) if gpus else 1) * cfg.train_dataloader.batch_size,
        **_length(cfg.train_cfg),
        'Teacher': _teacher(cfg.model.teacher, root),
        'Student': {'Config': _student(path, root)},
        'Distillations': {name: _term(term) for name, term in cfg.model.distillations.items()
                          if term is not None},
    }


#: type of a dataset -> what it is called, when it stands alone or with others
_DATA = dict(CityscapesDataset=['Cityscapes'], CocoDataset=['COCO'],
             PascalVOCDataset=['Pascal VOC 2012', 'Pascal VOC 2012 + Aug'],
             VOCDataset=['Pascal VOC 2007', 'Pascal VOC 2007 + 2012'],
             NuScenesDataset=['nuScenes'], NuScenesSequenceDataset=['nuScenes'],
             KittiDataset=['KITTI'])


def _data_name(dataset):
    while 'dataset' in dataset:  # repeated, or mixed with other pictures of itself
        dataset = dataset['dataset']
    parts = dataset.get('datasets', [dataset])
    return _DATA[parts[0].type.rpartition('.')[2]][len(parts) > 1]


def _length(train_cfg):
    if train_cfg.get('max_iters') is not None:
        return {'Iterations': train_cfg.max_iters}
    return {'Epochs': train_cfg.max_epochs}


def _teacher(teacher, root):
    data = {'Config': _in_repository(teacher.config, root),
            'Weights': _in_repository(teacher.checkpoint, root)}
    if '::' in teacher.config and '://' in teacher.checkpoint:
        package, config = teacher.config.split('::')
        data['Metrics'] = _zoo_results(package, os.path.dirname(config), teacher.checkpoint)
    return data


def _in_repository(path, root):
    """A file of the repository by its path there; anything else as it is."""
    if not os.path.isabs(path):
        return path
    return os.path.relpath(path, root).replace(os.sep, '/')


@functools.cache
def _zoo(package, folder):
    root = os.path.dirname(importlib.util.find_spec(package).origin)
    files = glob.glob(os.path.join(root, '.mim', 'configs', folder, 'metafile.y*ml'))
    models = []
    for file in files:
        with open(file, encoding='utf-8') as stream:
            models += yaml.safe_load(stream).get('Models', [])
    return models


def _zoo_results(package, folder, weights):
    """{metric: value} that the zoo itself gives for these weights."""
    for model in _zoo(package, folder):
        if model.get('Weights') == weights:
            results = model['Results']
            results = results if isinstance(results, list) else [results]
            found = {_known_as(name, result): value for result in results
                     for name, value in result['Metrics'].items()}
            return {name: float(value) for name, value in found.items() if name in METRICS}
    raise ValueError(f"{weights!r} is none of the weights in {package}'s metafile of {folder!r}")


_ZOO_NAMES = {('nuScenes', 'mAP'): 'nuScenes mAP', ('KITTI', 'AP'): 'KITTI 3D AP',
              ('KITTI', 'mAP'): 'KITTI 3D AP'}


def _known_as(name, result):
    """A zoo's name of a metric, in ours: nuScenes' mAP is another one than Pascal VOC's."""
    return _ZOO_NAMES.get((result.get('Dataset'), name), name)


def _student(path, root):
    """The first of the config's bases, which is its student."""
    with open(path, encoding='utf-8') as file:
        for node in ast.parse(file.read()).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
                base = ast.literal_eval(node.value)[0]
                break
        else:
            raise ValueError(f'{path} has no _base_')
    if '::' in base:
        return base
    return os.path.relpath(os.path.join(os.path.dirname(path), base), root).replace(os.sep, '/')


def _term(term):
    taps = [_tap(term.get(f'{side}_tap', term.get('tap'))) for side in ('student', 'teacher')]
    return {'Tap': taps[0] if taps[0] == taps[1] else ' / '.join(taps),
            'Loss': term.loss.type, 'Weight': term.get('weight', 1.)}


def _tap(tap):
    if isinstance(tap, str):
        return tap
    # several by name, or the levels of a pyramid
    return ', '.join(dict.fromkeys(map(_tap, tap.values() if isinstance(tap, dict) else tap)))
