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

NOT_RUN = 'not run'
TEACHER, STUDENT, DISTILLED = PUBLISHED = (
    'Teacher mIoU (published)', 'Student mIoU (published)', 'mIoU (published)')
EVIDENCE = ('Log', 'Git SHA', 'Seed', 'Checkpoint SHA256')
_TASKS = ('seg', 'det', 'det3d')


class _Dumper(yaml.SafeDumper):
    """Lists indented under their key, as OpenMMLab's metafiles have them."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data):
        return True


def metafile_paths(configs):
    return sorted(path for task in _TASKS
                  for path in glob.glob(os.path.join(configs, task, '*', 'metafile.yml')))


def leaf_paths(configs):
    """The configs that need a row in a metafile."""
    return sorted(path for task in _TASKS
                  for path in glob.glob(os.path.join(configs, task, '*', '*.py')))


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

    For every ``mmseg::`` base, mmengine parses all of mmseg's metafiles again (half a second).
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
        'Iterations': cfg.train_cfg.max_iters,
        'Teacher': _teacher(cfg.model.teacher),
        'Student': {'Config': _student(path, root)},
        'Distillations': {name: _term(term) for name, term in cfg.model.distillations.items()
                          if term is not None},
    }


def _data_name(dataset):
    parts = dataset.get('datasets', [dataset])
    name = dict(CityscapesDataset='Cityscapes', PascalVOCDataset='Pascal VOC 2012')[
        parts[0].type.rpartition('.')[2]]
    return f'{name} + Aug' if len(parts) > 1 else name


def _teacher(teacher):
    data = {'Config': teacher.config, 'Weights': teacher.checkpoint}
    if '::' in teacher.config:
        package, config = teacher.config.split('::')
        data['Metrics'] = {'mIoU': _zoo_result(package, os.path.dirname(config),
                                               teacher.checkpoint)}
    return data


@functools.cache
def _zoo(package, folder):
    root = os.path.dirname(importlib.util.find_spec(package).origin)
    files = glob.glob(os.path.join(root, '.mim', 'configs', folder, 'metafile.y*ml'))
    models = []
    for file in files:
        with open(file, encoding='utf-8') as stream:
            models += yaml.safe_load(stream).get('Models', [])
    return models


def _zoo_result(package, folder, weights):
    """The mIoU that the zoo itself gives for these weights."""
    for model in _zoo(package, folder):
        if model.get('Weights') == weights:
            results = model['Results']
            results = results[0] if isinstance(results, list) else results
            return results['Metrics']['mIoU']
    raise ValueError(f"{weights!r} is none of the weights in {package}'s metafile of {folder!r}")


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
    taps = [term.get(f'{side}_tap', term.get('tap')) for side in ('student', 'teacher')]
    return {'Tap': taps[0] if taps[0] == taps[1] else ' / '.join(taps),
            'Loss': term.loss.type, 'Weight': term.get('weight', 1.)}
