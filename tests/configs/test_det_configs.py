"""Detection's configs are what their names and sources say, and train.

The networks keep their structure and lose their width, so that one training step of every
config takes a second.
"""
import fnmatch
import json
import os
import re

import pytest

from mmkd.apis import join_recipes, recipes
from mmkd.results.metafiles import zoo_indices_read_once
from mmkd.utils.configs import load_model_config

from .common import CONFIGS, DET_STUDENTS, LEAVES, TEACHERS, check_terms, read, train_one_step
from .narrow_detectors import batch_of, narrow

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


# ---- one training step -----------------------------------------------------------------
def trained(cfg, done={}):  # noqa: B006 - one step for all leaves whose narrow networks are equal
    key = json.dumps([cfg.model.to_dict(), cfg.optim_wrapper.to_dict()], default=str)
    if key not in done:
        student = cfg.model.student
        done[key] = train_one_step(cfg, cfg.model, batch_of(min(classes_of(student))))
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
    _, logged = train_one_step(cfg, cfg.model, batch_of(min(classes_of(cfg.model))))
    assert 'loss_cls' in logged


# ---- the numbers that the sources give ----------------------------------------------------
@pytest.mark.parametrize('recipe, weights', [
    ('cwd', dict(classes=5.)),
    ('cwd_neck', dict(feature=10.)),
    ('mgd', dict(feature=1.)),
    ('fgd', dict(feature=1.)),
    ('pkd', dict(feature=10.)),
    ('dist', dict(classes=1.)),
    ('dist_mimic', dict(classes=1., feature=1.)),
    ('dist_two_stage_mimic', dict(classes=1., feature=1.)),
    ('defeat_two_stage', dict(feature=1., classes=1.)),
])
def test_recipe_weights_are_the_published(recipe, weights):
    terms = join_recipes(f'det/{recipe}')
    assert {name: term['weight'] for name, term in terms.items()} == weights


@pytest.mark.parametrize('recipe, term, numbers', [
    ('cwd', 'classes', dict(tau=1.)),
    ('mgd', 'feature', dict(alpha_mgd=2e-5)),
    ('mgd_two_stage', 'feature', dict(alpha_mgd=5e-7)),
    ('fgd', 'feature', dict(temp=0.5, alpha_fgd=1e-3, beta_fgd=5e-4, gamma_fgd=5e-4,
                            lambda_fgd=5e-6)),
    ('fgd_two_stage', 'feature', dict(temp=0.5, alpha_fgd=5e-5, beta_fgd=2.5e-5, gamma_fgd=5e-5,
                                      lambda_fgd=5e-7)),
    ('crosskd', 'predictions', dict(cls_weight=1., reg_weight=1.)),
    ('crosskd_gfl', 'predictions', dict(cls_weight=1., reg_weight=4.)),
    ('crosskd_atss', 'predictions', dict(cls_weight=1., reg_weight=1., centerness_weight=1.)),
    ('crosskd_fcos', 'predictions', dict(cls_weight=0.4, reg_weight=0.75)),
    ('ld_main', 'predictions', dict(vlr_weight=0., cls_weight=0.)),
    ('defeat', 'feature', dict(fg_weight=3., bg_weight=12.)),
    ('pgd', 'classes', dict(alpha=0.04, temp=0.8, topk=30)),
    ('pgd', 'boxes', dict(gamma=0.064, temp=0.8, topk=30)),
    ('pgd_atss', 'classes', dict(alpha=0.08, temp=0.8, topk=9)),
    ('pgd_atss', 'boxes', dict(gamma=0.128, temp=0.8, topk=9)),
])
def test_factors_are_the_published(recipe, term, numbers):
    loss = join_recipes(f'det/{recipe}')[term]['loss']
    assert {key: loss[key] for key in numbers} == numbers


@pytest.mark.parametrize('leaf, term, numbers', [
    ('fgd/fgd_reppoints-*', 'feature', dict(temp=0.5, alpha_fgd=1.6e-3, lambda_fgd=8e-6)),
    ('fgd/fgd_fcos-*', 'feature', dict(temp=0.8, alpha_fgd=1.6e-3, lambda_fgd=8e-6)),
    ('fgd/fgd_yolox-*', 'feature', dict(temp=0.5, alpha_fgd=2e-3, lambda_fgd=1e-5)),
    ('fgd/fgd_cascade-*', 'feature', dict(alpha_fgd=5e-5)),
    ('mgd/mgd_cascade-*', 'feature', dict(alpha_mgd=5e-7)),
    ('pkd/pkd_*_retinanet-*', 'feature', dict(weight=10.)),
    ('pkd/pkd_mask-rcnn-swin-s_*', 'feature', dict(weight=6.)),
    ('pkd/pkd_faster-*', 'feature', dict(weight=6.)),
    ('crosskd/crosskd_gfl-*', 'predictions', dict(reg_weight=4.)),
    ('crosskd/crosskd_pkd_gfl-*', 'feature', dict(weight=6.)),
    ('crosskd/crosskd_pkd_retinanet-*', 'feature', dict(weight=2.)),
    ('crosskd/crosskd_pkd_fcos-*', 'feature', dict(weight=2.)),
    ('crosskd/crosskd_pkd_atss-*', 'feature', dict(weight=1.)),
    ('pgd/pgd_atss-*', 'classes', dict(alpha=0.08)),
])
def test_a_familys_own_weights_are_in_its_configs(leaf, term, numbers):
    paths = fnmatch.filter(LEAVES, f'det/{leaf}')
    if leaf.startswith('pkd/pkd_*'):
        paths = [path for path in paths if 'swin' not in path]
    assert paths
    for path in paths:
        cfg = read(path).model.distillations[term]
        assert {key: cfg[key] if key == 'weight' else cfg.loss[key] for key in numbers} == numbers


def test_every_recipe_of_a_method_is_told_on_its_page():
    for name, file in recipes('det').items():
        if os.path.basename(os.path.dirname(file)) == 'det':
            page = os.path.join(CONFIGS, 'det', name.partition('_')[0], 'README.md')
            with open(page, encoding='utf-8') as text:
                assert re.search(rf'\b{name}\b', text.read()), (name, page)
