"""Trainings of a camera detector with a LiDAR teacher: resuming, stock mmdet3d, two processes."""
import copy

import pytest
import torch
from mmdet3d.apis import init_model
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import DefaultScope

from tests.cli import weights_of
from tests.detectors3d import bev_batch, bev_distiller, bev_runner_config, centerpoint
from tests.engine.common import train
from tests.engine.test_distributed import on_two_processes, out_of_step, wrapper_of
from tests.helpers import build
from tests.models.bev.rigs import CLASSES, RANGE, SIZE, tiny_model

TERMS = dict(
    feature=dict(tap='bev', student_connector=dict(type='mmkd.ConvConnector'),
                 loss=dict(type='mmkd.FitNetLoss')),
    heat=dict(tap='heatmap', loss=dict(type='mmkd.FitNetLoss'), schedule=dict(
        type='linear', begin=0, end=8, start=.5)))
SCANS = dict(area=RANGE, images=(6, *SIZE))


def distiller():
    teacher = centerpoint(area=RANGE, tasks=(CLASSES[:4], CLASSES[4:]))
    return bev_distiller(copy.deepcopy(TERMS), tiny_model(), teacher)


def config(folder, **others):
    return bev_runner_config(distiller(), folder, scans=SCANS, **others)


@pytest.fixture(autouse=True)
def _scope():
    DefaultScope.get_instance('detectors3d', scope_name='mmdet3d')


def test_resume_continues_bit_for_bit(tmp_path):
    def made(name):
        cfg = config(tmp_path / name)
        cfg.custom_hooks = [dict(type='EMAHook', momentum=0.5), *cfg.custom_hooks]
        cfg.default_hooks.checkpoint.interval = 2
        return cfg

    straight = train(made('a'))[1].losses
    cfg = made('b')
    cfg.load_from, cfg.resume = str(tmp_path / 'a' / 'iter_2.pth'), True
    assert train(cfg)[1].losses == straight[2:]
    a, b = (weights_of(tmp_path / name / 'iter_4.pth') for name in 'ab')
    for part in ('state_dict', 'ema_state_dict'):
        assert a[part].keys() == b[part].keys()
        assert [key for key in a[part] if not torch.equal(a[part][key], b[part][key])] == []
    alone = build(tiny_model()).state_dict()
    own = {key for key in a['state_dict'] if not key.startswith('distiller.')}
    assert own == set(alone) and len(own) < len(a['state_dict'])


@pytest.mark.parametrize('which', ['student', 'distiller'])
def test_stock_mmdet3d_loads_what_training_writes(tmp_path, which):
    cfg = config(tmp_path / 'train', iters=1)
    runner, _ = train(cfg)
    model = tiny_model() if which == 'student' else distiller()
    found = Config(dict(cfg.to_dict(), model=model))
    found.dump(str(tmp_path / 'config.py'))
    loaded = init_model(Config.fromfile(tmp_path / 'config.py'),
                        str(tmp_path / 'train' / 'iter_1.pth'), device='cpu')
    assert type(loaded) is type(runner.model.student)
    expected = runner.model.student.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_half_precision(tmp_path):
    cfg = config(tmp_path, iters=2)
    cfg.optim_wrapper.update(type='mmkd.Bfloat16OptimWrapper')
    log = train(cfg)[1].losses
    assert len(log) == 2
    assert all(torch.isfinite(torch.tensor(list(step.values()))).all() for step in log)


def train_half(rank):
    """One sample of each batch on each of two processes; the second has no box."""
    DefaultScope.get_instance('detectors3d', scope_name='mmdet3d')
    torch.manual_seed(rank)
    model = build(distiller())
    ddp = MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=False)
    optimizer, logs = wrapper_of(ddp), []
    ddp.train()
    for step in range(2):
        data = bev_batch(1, boxes=0 if rank else 2, seed=10 * step + rank, **SCANS)
        logs.append({key: float(value) for key, value in ddp.train_step(data, optimizer).items()})
    return dict(logs=logs, state=model.state_dict())


@pytest.mark.slow
def test_ranks_stay_in_step_also_without_boxes_on_one(tmp_path):
    first, second = on_two_processes(train_half, tmp_path)
    assert out_of_step(first['state'], second['state']) == []
    for rank in (first, second):
        assert len(rank['logs']) == 2
        assert all(torch.isfinite(torch.tensor(list(log.values()))).all() for log in rank['logs'])
