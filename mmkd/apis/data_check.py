"""Are the data that a config reads there, and do they fit its networks?"""
import contextlib
import json
import os

from ..utils.configs import type_name
from ..utils.hints import did_you_mean
from .classes import class_problems
from .data_contents import read_contents
from .scenes import scene_problems, unread

#: where each dataset comes from, for the message when it is missing, and the tool that draws one
_SOURCES = dict(
    CityscapesDataset=(
        'get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from cityscapes-dataset.com, '
        'unpack them there, and run '
        'mmseg/.mim/tools/dataset_converters/cityscapes.py on the folder',
        'make_street_scenes.py cityscapes'),
    PascalVOCDataset=(
        'get VOCtrainval_11-May-2012.tar from host.robots.ox.ac.uk/pascal/VOC/voc2012, unpack it '
        'there, and for the augmented set run mmseg/.mim/tools/dataset_converters/voc_aug.py',
        'make_street_scenes.py voc'),
    CocoDataset=(
        'get train2017.zip, val2017.zip and annotations_trainval2017.zip from cocodataset.org and '
        'unpack them there',
        'make_street_scenes.py coco'),
    NuScenesDataset=(
        'get the v1.0-trainval archives from nuscenes.org, unpack them there, and run '
        "mmdet3d's tools/create_data.py nuscenes on the folder",
        'make_nuscenes.py'),
)
#: modality -> how the keys of its folders in mmdet3d's data_prefix begin
_FOLDERS = dict(points=('pts', 'sweeps'), img=('img', 'CAM_'))


def check_datasets(cfg, loaders=('train_dataloader', 'val_dataloader')):
    """Check the data that ``cfg`` reads.

    Every file is looked for, a few annotations are read, and the heads' number of classes is
    compared with the data's. Nothing is claimed of datasets whose files and classes are not
    those of a data set of mmseg, mmdet or mmdet3d, or of networks whose heads do not say a number.

    Returns:
        list: :class:`~mmkd.apis.data_contents.Contents` of what could be looked into.

    Raises:
        FileNotFoundError: Folders or files are missing; the message says where each should be
            and how to get it.
        ValueError: Something else is wrong; one message with all that is.
    """
    missing, wrong, found, datasets = [], [], [], []
    for loader in loaders:
        here = []
        for dataset in leaf_datasets((cfg.get(loader) or {}).get('dataset')):
            datasets.append((loader, dataset))
            lost = _missing(dataset)
            if lost:
                missing.append(_how_to_get(loader, dataset, lost))
                continue
            contents = read_contents(dataset, loader, cfg.get('default_scope'))
            if contents is not None:
                wrong += contents.problems
                here.append(contents)
        for told, problems in ((missing, _lost_truth), (wrong, _truth_of_others)):
            told += problems(cfg, loader, here)
        found += here
    wrong += class_problems(cfg, found) + scene_problems(cfg, found, datasets)
    problems = list(dict.fromkeys([*missing, *wrong]))
    if problems:
        raise (FileNotFoundError if missing else ValueError)('\n'.join(problems))
    return found


def leaf_datasets(dataset):
    """The leaf datasets in (possibly nested) wrappers."""
    if not isinstance(dataset, dict):
        return []
    inner = dataset.get('dataset') or dataset.get('datasets')
    if inner is None:
        return [dataset]
    return [leaf for item in (inner if isinstance(inner, (list, tuple)) else [inner])
            for leaf in leaf_datasets(item)]


def _truth_files(cfg, loader):
    """{where a loader's evaluator names a file of annotations: its path}."""
    key = loader.replace('dataloader', 'evaluator')
    metrics = cfg.get(key) if key != loader and cfg.get(loader) else None
    several = isinstance(metrics, (list, tuple))
    return {f'{key}[{i}].ann_file' if several else f'{key}.ann_file': metric['ann_file']
            for i, metric in enumerate(metrics if several else [metrics])
            if isinstance(metric, dict) and isinstance(metric.get('ann_file'), str)
            and '://' not in metric['ann_file'] and not metric.get('backend_args')}


def _lost_truth(cfg, loader, contents):
    """Messages on evaluators whose annotations are not there: they are read after the training."""
    return [f'{os.path.abspath(path)} does not exist{_near(dict(ann_file=path))}. Set it with '
            f'--cfg-options {key}=...' for key, path in _truth_files(cfg, loader).items()
            if not os.path.exists(path)]


def _truth_of_others(cfg, loader, contents):
    """Messages on evaluators whose annotations are of other pictures than the loader's."""
    problems = []
    for key, path in _truth_files(cfg, loader).items():
        ids = {one for found in contents for one in found.ids}
        if not path.endswith('.json') or not os.path.isfile(path) or not ids:
            continue
        with open(path, encoding='utf-8') as file, contextlib.suppress(Exception):
            lost = ids - {image['id'] for image in json.load(file)['images']}
            if lost:
                problems.append(
                    f"{key}: {path} does not have {len(lost)} of the {len(ids)} pictures of "
                    f'{loader} (such as id {min(lost, key=str)!r}): give the same annotations to '
                    'both')
    return problems


def _missing(dataset):
    """key -> path of the folders and files that the dataset names and that are not there."""
    root, prefixes = dataset.get('data_root') or '', dataset.get('data_prefix') or {}
    steps = [type_name(step) for step in dataset.get('pipeline') or ()]
    useless = {'seg_map_path'} if steps and 'LoadAnnotations' not in steps else set()
    useless |= {key for kind in unread(dataset.get('pipeline')) for key in prefixes
                if key.startswith(_FOLDERS[kind])}
    wanted = {f'data_prefix.{key}': os.path.join(root, part) for key, part in prefixes.items()
              if isinstance(part, str) and key not in useless}
    wanted = wanted or dict(data_root=root)
    if dataset.get('ann_file'):
        wanted['ann_file'] = os.path.join(root, dataset['ann_file'])
    return {key: path for key, path in wanted.items()
            if path and '://' not in path and not os.path.exists(path)}


def _how_to_get(loader, dataset, missing):
    kind, root = type_name(dataset), dataset.get('data_root') or ''
    where = ', '.join(os.path.abspath(path) for path in missing.values())
    text = f'{kind} of {loader}: {where} does not exist'
    if root and os.path.isdir(root) and os.listdir(root):
        # The data are there, and the config names a part of them in another way.
        return f"{text}{_near(missing)}. Set it with --cfg-options " + ' '.join(
            f'{loader}.dataset.{key}=...' for key in missing)
    if kind in _SOURCES:
        how, tool = _SOURCES[kind]
        made = os.path.normpath(root)
        if tool.endswith(' voc') and made.endswith(os.path.join('VOCdevkit', 'VOC2012')):
            made = os.path.dirname(os.path.dirname(made))
        text += (f'. To get it: {how}. To try the pipeline without it: '
                 f'python tools/{tool} {made}')
    return text + ('. If you have it elsewhere: --cfg-options '
                   f'{loader}.dataset.data_root=/where/it/is')


def _near(missing):
    """What is there instead of the first part of each path that is not."""
    hints = []
    for path in missing.values():
        while not os.path.isdir(os.path.dirname(path) or '.'):
            path = os.path.dirname(path)
        folder, name = os.path.split(path)
        there = sorted(os.listdir(folder or '.'))
        hints.append(did_you_mean(name, there)
                     or f"; in {folder or '.'} there is {', '.join(there[:8]) or 'nothing'}")
    return ''.join(dict.fromkeys(hints))
