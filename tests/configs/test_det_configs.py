"""Detection's configs are what their names and sources say, and train.

The networks keep their structure and lose their width, so that one training step of every
config takes a second.
"""
import functools
import glob
import json
import os
import re

import mmdet
import pytest
import yaml

from mmkd.results.metafiles import zoo_indices_read_once
from mmkd.utils.configs import load_model_config, read_config
from tests.detectors import det_batch

from .common import CONFIGS, DET_STUDENTS, LEAVES, TEACHERS, check_terms, read, train_one_step
from .narrow_detectors import narrow

LEAVES = [path for path in LEAVES if path.startswith('det/')]
NAMES = re.compile(
    r'(?P<method>[a-z_]+?)_(?P<teacher>[a-z0-9-]+)_(?P<student>[a-z0-9-]+)_\d+xb(?P<batch>\d+)-'
    r'(?P<scales>ms-)?(?P<length>\d+)(?P<unit>[xe])_(?P<data>coco|voc0712)\.py')
DETECTORS = dict(RetinaNet='retinanet', GFL='gfl', ATSS='atss', FCOS='fcos', SOLO='solo',
                 RepPointsDetector='reppoints', FasterRCNN='faster-rcnn', MaskRCNN='mask-rcnn',
                 CascadeRCNN='cascade-mask-rcnn', YOLOX='yolox')

# mmengine's reading of configs warns about pkg_resources.
pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module', autouse=True)
def quick():
    with zoo_indices_read_once():
        yield


def teacher_of(cfg):
    return load_model_config(cfg.model.teacher.config)[0]


def label(model):
    """'retinanet-r50' of a model config."""
    backbone = model.backbone
    if backbone.type == 'SwinTransformer':
        size = f"swin-{ {12: 't', 24: 's'}[sum(backbone.depths)]}"
    elif backbone.type == 'CSPDarknet':
        size = {0.75: 'm', 1.0: 'l'}[backbone.widen_factor]
    elif backbone.type == 'ResNeXt':
        size = f'x{backbone.depth}-{backbone.groups}x{backbone.base_width}d'
    else:
        size = f'r{backbone.depth}'
    return f"{DETECTORS[model.type]}-{size}{'-dcn' if backbone.get('dcn') else ''}"


def classes_of(model):
    head = model.get('bbox_head') or model.get('mask_head') or model.roi_head.bbox_head
    return {part.num_classes for part in (head if isinstance(head, list) else [head])}


def training_set(cfg):
    """The dataset itself, and how often an epoch has it."""
    dataset, times = cfg.train_dataloader.dataset, 1
    while 'dataset' in dataset:
        times *= dataset.get('times', 1)
        dataset = dataset.dataset
    return dataset, times


@pytest.mark.parametrize('path', LEAVES)
def test_leaf_says_what_its_name_says(path):
    """<method>[_<variant>]_<teacher>_<student>_<gpus>xb<batch>-[ms-]<schedule>_<data>"""
    folder, file = os.path.split(path)
    name = NAMES.fullmatch(file)
    assert re.match(rf'{os.path.basename(folder)}(_|$)', name['method'])
    cfg = read(path)
    assert cfg.model.type == 'mmkd.OfflineDistiller'
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    dataset, times = training_set(cfg)
    epochs = int(name['length']) * (12 if name['unit'] == 'x' else 1)
    assert cfg.train_cfg.max_epochs * times == epochs
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_epochs
    scales = [step for step in (dataset.get('pipeline') or [])
              if step.type in ('RandomChoiceResize', 'RandomResize')]
    assert bool(scales) == bool(name['scales'])
    voc = name['data'] == 'voc0712'
    assert {part.type for part in dataset.get('datasets', [dataset])} == {
        'VOCDataset' if voc else 'CocoDataset'}
    student, teacher = cfg.model.student, teacher_of(cfg)
    assert label(student) == name['student']
    assert label(teacher) == name['teacher']
    assert classes_of(student) == classes_of(teacher) == {20 if voc else 80}
    hooks = [hook.type for hook in cfg.custom_hooks]
    assert hooks.count('mmkd.ExactResumeHook') == 1
    if 'yolox' in path:
        assert {'YOLOXModeSwitchHook', 'SyncNormHook', 'EMAHook'} < set(hooks)


@pytest.mark.parametrize('path', LEAVES)
def test_training_is_the_sources(path):
    cfg, name = read(path), os.path.basename(path)
    two_stage = 'roi_head' in cfg.model.student
    pgd, yolox = name.startswith('pgd'), 'yolox' in name
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.momentum) == ('SGD', 0.9)
    assert optimizer.weight_decay == (5e-4 if yolox else 1e-4)
    assert optimizer.lr == (0.02 if pgd or two_stage and 'coco' in name else 0.01)
    # FGD, MGD and PGD clip gradients, as do mmdet's FCOS and DeFeat's VOC runs.
    clipped = name.startswith(('fgd', 'mgd', 'pgd')) and not yolox or re.search(
        'fcos-r50|voc0712', name)
    clip = cfg.optim_wrapper.get('clip_grad')
    assert (clip and clip.max_norm) == (35 if clipped else None)
    # FGD, MGD and PGD start the student's neck and head from a teacher of the same family.
    inherits = name.startswith(('fgd', 'mgd', 'pgd')) and not yolox and 'cascade' not in name
    assert cfg.model.get('init_student', False) == inherits
    assert bool(cfg.get('load_from')) == name.startswith('fbkd')


@functools.cache
def zoo_weights():
    """Address -> config, of all that mmdet has trained."""
    found = {}
    root = os.path.join(os.path.dirname(mmdet.__file__), '.mim', 'configs')
    for path in glob.glob(os.path.join(root, '*', 'metafile.yml')):
        with open(path, encoding='utf-8') as file:
            data = yaml.safe_load(file)
        for model in data if isinstance(data, list) else data.get('Models') or []:
            if isinstance(model.get('Weights'), str) and model.get('Config'):
                found[model['Weights']] = model['Config'].removeprefix('configs/')
    return found


@pytest.mark.parametrize('path', LEAVES)
def test_weights_are_those_of_the_teachers_config(path):
    cfg = read(path)
    teacher = cfg.model.teacher
    if '://' in teacher.checkpoint:
        assert f'mmdet::{zoo_weights()[teacher.checkpoint]}' == teacher.config
    else:  # where tools/train.py leaves it
        name = os.path.splitext(os.path.basename(teacher.config))[0]
        length = read_config(teacher.config).train_cfg.max_epochs
        assert teacher.checkpoint == f'work_dirs/{name}/epoch_{length}.pth'
    if cfg.get('load_from'):
        assert f'mmdet::{zoo_weights()[cfg.load_from]}' in open(
            os.path.join(CONFIGS, path), encoding='utf-8').read()


# ---- one training step -----------------------------------------------------------------
def trained(cfg, done={}):  # noqa: B006 - one step for all leaves whose narrow networks are equal
    key = json.dumps([cfg.model.to_dict(), cfg.optim_wrapper.to_dict()], default=str)
    if key not in done:
        done[key] = train_one_step(cfg, cfg.model, det_batch(size=96, masks=True))
    return done[key]


@pytest.mark.parametrize('path', LEAVES)
def test_leaf_takes_a_training_step(path):
    cfg = read(path)
    cfg.model.teacher = dict(config=narrow(teacher_of(cfg)), checkpoint=None, allow_random=True)
    narrow(cfg.model.student)
    for term in cfg.model.distillations.values():  # from the first step on
        term.pop('schedule', None)
    model, logged = trained(cfg)
    check_terms(cfg, model, logged, every_part=False)


@pytest.mark.parametrize('path', DET_STUDENTS + TEACHERS)
def test_student_or_teacher_alone_takes_a_training_step(path):
    cfg = read(path)
    narrow(cfg.model)
    _, logged = train_one_step(cfg, cfg.model, det_batch(size=96, masks=True))
    assert 'loss_cls' in logged
