"""Segmentation's configs are what their names and sources say, and train.

The networks keep their structure and lose their width, so that one training step of every
config takes a second.
"""
import os
import re

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmkd.results.metafiles import zoo_indices_read_once
from mmkd.utils.configs import load_model_config, read_config

from .common import (
    CONFIGS,
    DET3D_STUDENTS,
    DET_STUDENTS,
    LEAVES,
    STUDENTS,
    check_terms,
    read,
    train_one_step,
)

SIZE = (64, 64)
LEAVES = [path for path in LEAVES if path.startswith('seg/')]
STUDENTS = [path for path in STUDENTS if path not in DET_STUDENTS + DET3D_STUDENTS]

# mmengine's reading of configs warns about pkg_resources.
pytestmark = pytest.mark.filterwarnings('ignore')


@pytest.fixture(scope='module', autouse=True)
def quick():
    with zoo_indices_read_once():
        yield


@pytest.mark.parametrize('path', LEAVES)
def test_leaf_says_what_its_name_says(path):
    """<method>_<teacher>_<student>_<gpus>xb<batch>-<iterations>k_<data>-<height>x<width>"""
    folder, name = os.path.split(path)
    name = re.fullmatch(
        r'(?P<method>\w+)_(?P<teacher>[\w-]+)_(?P<student>[\w-]+)_\d+xb(?P<batch>\d+)-'
        r'(?P<kilo>\d+)k_(?P<data>\w+)-(?P<h>\d+)x(?P<w>\d+)\.py', name)
    assert name['method'] == os.path.basename(folder)
    cfg = read(path)
    assert cfg.model.type == 'mmkd.OfflineDistiller'
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    assert cfg.train_cfg.max_iters // 1000 == int(name['kilo'])
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters
    crop = (int(name['h']), int(name['w']))
    dataset = cfg.train_dataloader.dataset
    parts = dataset.get('datasets', [dataset])
    assert {tuple(step.crop_size) for part in parts for step in part.pipeline
            if step.type == 'RandomCrop'} == {crop}
    assert tuple(cfg.model.student.data_preprocessor.size) == crop
    wanted = dict(cityscapes=['CityscapesDataset'], voc12=['PascalVOCDataset'],
                  voc12aug=['PascalVOCDataset'] * 2)[name['data']]
    assert [part.type for part in parts] == wanted
    assert head_of(cfg.model.student) == name['student']
    assert head_of(load_model_config(cfg.model.teacher.config)[0]) == name['teacher']
    classes = 19 if name['data'] == 'cityscapes' else 21
    for model in (cfg.model.student, load_model_config(cfg.model.teacher.config)[0]):
        assert model.decode_head.num_classes == classes
        assert not model.get('auxiliary_head') or model.auxiliary_head.num_classes == classes
    hooks = [hook for hook in cfg.custom_hooks if hook.type == 'mmkd.ExactResumeHook']
    assert len(hooks) == 1


def head_of(model):
    """'deeplabv3-r18' of a model config."""
    head = dict(ASPPHead='deeplabv3', DepthwiseSeparableASPPHead='deeplabv3plus',
                PSPHead='pspnet')[model.decode_head.type]
    depth = model.backbone.get('depth')
    return f'{head}-r{depth}' if depth else f'{head}-mv2'


# ---- one training step -----------------------------------------------------------------
def shrink(model):
    """The same network, narrow; in place."""
    model.pretrained = None
    model.data_preprocessor.size = SIZE
    backbone, head, aux = model.backbone, model.decode_head, model.get('auxiliary_head')
    if 'depth' in backbone:
        backbone.depth = min(backbone.depth, 50)
        backbone.update(stem_channels=8, base_channels=8)
        widths = [8 * 2 ** stage * (4 if backbone.depth >= 50 else 1) for stage in range(4)]
    else:
        backbone.widen_factor = 0.25
        widths = [8, 8, 24, 80]
    head.update(in_channels=widths[-1], channels=16)
    if 'c1_in_channels' in head:
        head.update(c1_in_channels=widths[0], c1_channels=4)
    if aux:
        aux.update(in_channels=widths[2], channels=8)
    return model


def batch_of(num_classes):
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for _ in range(2):
        inputs.append(torch.randint(0, 256, (3, *SIZE), generator=generator, dtype=torch.uint8))
        labels = torch.randint(0, num_classes, (1, *SIZE), generator=generator)
        labels[:, :8] = 255
        sample = SegDataSample(metainfo=dict(img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE))
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.parametrize('path', LEAVES)
def test_leaf_takes_a_training_step(path):
    cfg = read(path)
    teacher = shrink(load_model_config(cfg.model.teacher.config)[0])
    cfg.model.teacher = dict(config=teacher, checkpoint=None, allow_random=True)
    student = shrink(cfg.model.student)
    for term in cfg.model.distillations.values():
        if term.loss.type == 'mmkd.CIRKDMemoryLoss':
            term.loss.update(pixel_memory_size=60, region_memory_size=20,
                             pixel_contrast_size=100, region_contrast_size=50)
    model, logged = train_one_step(cfg, cfg.model, batch_of(student.decode_head.num_classes))
    assert 'decode.loss_ce' in logged
    check_terms(cfg, model, logged)


@pytest.mark.parametrize('path', STUDENTS)
def test_student_alone_takes_a_training_step(path):
    cfg = read(path)
    shrink(cfg.model)
    _, logged = train_one_step(cfg, cfg.model, batch_of(cfg.model.decode_head.num_classes))
    assert 'decode.loss_ce' in logged


# ---- the numbers that the sources give ----------------------------------------------------
@pytest.mark.parametrize('path', LEAVES)
def test_schedule_is_the_sources(path):
    cfg = read(path)
    name = os.path.basename(path)
    optimizer, policy = cfg.optim_wrapper.optimizer, cfg.param_scheduler[-1]
    if name.startswith('attnfd'):
        wanted = (0.01, 5e-4, 0.) if 'cityscapes' in name else (0.007, 5e-4, 0.)
        iterations = 200 * 496 if 'cityscapes' in name else 120 * 244
    elif name.startswith(('cwd', 'mgd')):  # mmseg's own
        wanted = (0.01, 5e-4, 1e-4)
        iterations = 80000 if name.startswith('cwd') and 'cityscapes' in name else 40000
    else:  # CIRKD and its baselines
        wanted, iterations = (0.02, 1e-4, 0.), 40000
    assert (optimizer.type, optimizer.momentum) == ('SGD', 0.9)
    assert (optimizer.lr, optimizer.weight_decay, policy.eta_min) == wanted
    assert (policy.type, policy.power) == ('PolyLR', 0.9)
    assert cfg.train_cfg.max_iters == iterations


@pytest.mark.parametrize('recipe, weights', [
    ('kd', dict(logits=1.)),
    ('cwd', dict(logits=3.)),
    ('mgd', dict(feature=1., logits=3.)),
    ('cirkd', dict(logits=1., minibatch=1., memory=0.1)),
    ('cirkd_voc', dict(logits=1., minibatch=1., memory=0.01)),
    ('attnfd', dict(stage4=2., context=2., decoder=2.)),
    ('at', dict(logits=1., feature=10000.)),
    ('fitnet', dict(logits=1., feature=10.)),
])
def test_recipe_weights_are_the_published(recipe, weights):
    terms = read_config(os.path.join(CONFIGS, f'_base_/recipes/seg/{recipe}.py')).distillations
    assert {name: term.weight for name, term in terms.items()} == weights


def test_cirkd_uses_its_voc_weight_on_voc_only():
    for path in LEAVES:
        if os.path.basename(path).startswith('cirkd'):
            memory = read(path).model.distillations.memory.weight
            assert memory == (0.01 if 'voc' in path else 0.1)
