"""Trainings of detectors: mixed precision, EMA, resuming, stock mmdet, two processes."""
import copy

import pytest
import torch
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import DefaultScope

from mmkd.apis import prepare
from mmkd.results.comparison.readings import evaluation_records
from tests.cli import weights_of
from tests.detectors import det_batch, det_distiller, det_runner_config, small_detector
from tests.engine.common import train
from tests.engine.test_distributed import WORLD, on_two_processes, out_of_step, wrapper_of
from tests.helpers import build

FGD = dict(feature=dict(tap='neck_convs', loss=dict(type='mmkd.FGDLoss')))
CROSSKD = dict(predictions=dict(
    student_tap=dict(cls='cls_tower.3', reg='reg_tower.3'),
    teacher_tap=dict(cls='cls', reg='reg', cls_tower='cls_tower.3', reg_tower='reg_tower.3'),
    student_connector=dict(type='mmkd.CrossHeadConnector', after=3),
    loss=dict(type='mmkd.CrossKDLoss')))
ROI = dict(scores=dict(tap='roi_cls', loss=dict(type='mmkd.DISTLoss', use_sigmoid=False)))
TERMS = dict(retinanet={**FGD, **CROSSKD}, faster={**FGD, **ROI})


def distiller(kind):
    return det_distiller(copy.deepcopy(TERMS[kind]), kind, kind)


def finite(log):
    return all(torch.isfinite(torch.tensor(list(step.values()))).all() for step in log.losses)


def test_mixed_precision(tmp_path):
    """Of a one-stage detector: an RPN's NMS in mmcv knows no bfloat16 on a CPU, with or without
    a teacher."""
    cfg = det_runner_config(distiller('retinanet'), tmp_path / 'half', 3)
    cfg.optim_wrapper.update(type='mmkd.Bfloat16OptimWrapper', accumulative_counts=2)
    half = train(cfg)[1]
    full = train(det_runner_config(distiller('retinanet'), tmp_path / 'full', 1))[1]
    assert len(half.losses) == 3 and finite(half)
    for name in TERMS['retinanet']:
        keys = [key for key in full.losses[0] if key.startswith(f'loss_{name}')]
        assert keys
        for key in keys:
            assert half.losses[0][key] == pytest.approx(full.losses[0][key], rel=0.15, abs=0.02)


@pytest.mark.parametrize('kind', TERMS)
def test_resume_continues_bit_for_bit(tmp_path, kind):
    def config(name):
        cfg = det_runner_config(distiller(kind), tmp_path / name)
        cfg.custom_hooks = [dict(type='EMAHook', momentum=0.5), *cfg.custom_hooks]
        cfg.default_hooks.checkpoint.interval = 2
        return cfg

    straight = train(config('a'))[1].losses
    cfg = config('b')
    cfg.load_from, cfg.resume = str(tmp_path / 'a' / 'iter_2.pth'), True
    resumed = train(cfg)[1].losses
    assert resumed == straight[2:]
    a, b = (weights_of(tmp_path / name / 'iter_4.pth') for name in 'ab')
    for part in ('state_dict', 'ema_state_dict'):
        assert a[part].keys() == b[part].keys()
        assert [key for key in a[part] if not torch.equal(a[part][key], b[part][key])] == []


@pytest.mark.parametrize('kind', TERMS)
def test_stock_mmdet_loads_the_checkpoint_and_gives_the_same_boxes(tmp_path, kind):
    student = small_detector(kind)
    runner, _ = train(det_runner_config(distiller(kind), tmp_path))
    config, file = tmp_path / 'student.py', tmp_path / 'iter_4.pth'
    Config(dict(default_scope='mmdet', model=student, test_dataloader=dict(
        dataset=dict()))).dump(str(config))
    model = init_detector(str(config), str(file), device='cpu', palette='random')
    missing, extra = model.load_state_dict(weights_of(file)['state_dict'], strict=False)
    assert missing == [] and extra and all(key.startswith('distiller.') for key in extra)
    runner.model.eval()
    with torch.no_grad():
        for ours, theirs in zip(runner.model.test_step(det_batch()), model.test_step(det_batch()),
                                strict=True):
            for key in ('bboxes', 'scores', 'labels'):
                assert torch.equal(ours.pred_instances[key], theirs.pred_instances[key])


@pytest.mark.parametrize('by_epoch', [False, True])
def test_evaluations_are_logged_by_what_the_training_counts(tmp_path, by_epoch):
    cfg = det_runner_config(distiller('retinanet'), tmp_path, 2)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
    if by_epoch:
        cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
        cfg.default_hooks.checkpoint.by_epoch = True
        cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
        cfg.train_dataloader.dataset.length = 2
    train(prepare(cfg))
    record, = evaluation_records(tmp_path)
    assert record['step'] == (1 if by_epoch else 2) and 'boxes' in record


# ---- two processes ------------------------------------------------------------------------
def train_half(kind, rank, empty):
    """One image of each batch on each of two processes; with ``empty`` the second has no box."""
    DefaultScope.get_instance('detectors', scope_name='mmdet')
    torch.manual_seed(rank)
    model = build(distiller(kind))
    ddp = MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=False)
    optimizer, logs = wrapper_of(ddp), []
    ddp.train()
    for step in range(2):
        data = det_batch(1, boxes=0 if empty and rank else 2, seed=10 * step + rank)
        logs.append({key: float(value) for key, value in ddp.train_step(data, optimizer).items()})
    return dict(logs=logs, state=model.state_dict())


def train_all(rank):
    return {f'{kind} {empty}': train_half(kind, rank, empty)
            for kind in TERMS for empty in (False, True)}


@pytest.mark.slow
def test_ranks_stay_in_step_also_without_boxes_on_one(tmp_path):
    first, second = on_two_processes(train_all, tmp_path)
    assert len(first) == 2 * len(TERMS) and WORLD == 2
    for name in first:
        assert out_of_step(first[name]['state'], second[name]['state']) == [], name
        for rank in (first, second):
            assert all(torch.isfinite(torch.tensor(list(log.values()))).all()
                       for log in rank[name]['logs']), name
