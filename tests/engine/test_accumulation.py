"""Checkpoints inside a window of accumulated gradients: nothing of it is lost."""
import pytest
import torch
from torch import nn

from mmkd.engine.accumulation import share_gradients
from tests.cli import assert_same, weights_of
from tests.engine.common import train
from tests.engine.test_distributed import on_two_processes
from tests.helpers import runner_config, tiny_distiller


def config(folder, count, iters=8, interval=4, by_epoch=False, **others):
    cfg = runner_config(tiny_distiller('mgd'), folder, iters, **others)
    cfg.default_hooks.checkpoint.interval = interval
    cfg.optim_wrapper.accumulative_counts = count
    if by_epoch:
        cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=iters // 2, val_interval=1)
        cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
        cfg.train_dataloader.dataset.length = 4
        cfg.default_hooks.checkpoint.update(by_epoch=True, interval=interval // 2)
    return cfg


def resumed(cfg, file, folder):
    cfg.load_from, cfg.resume, cfg.work_dir = str(file), True, str(folder)
    return train(cfg)


@pytest.mark.parametrize('count, by_epoch', [(2, False), (3, False), (5, False), (3, True)])
def test_resume_inside_a_window(tmp_path, count, by_epoch):
    kind, middle, last = ('epoch', 2, 4) if by_epoch else ('iter', 4, 8)
    train(config(tmp_path / 'a', count, by_epoch=by_epoch))
    file = tmp_path / 'a' / f'{kind}_{middle}.pth'
    assert ('accumulated' in weights_of(file)) == bool(4 % count)
    resumed(config(tmp_path / 'b', count, by_epoch=by_epoch), file, tmp_path / 'b')
    a, b = (weights_of(tmp_path / name / f'{kind}_{last}.pth') for name in 'ab')
    for part in ('state_dict', 'optimizer', 'param_schedulers', 'random_state'):
        assert_same(a[part], b[part], part)


def test_a_checkpoint_between_windows_holds_no_gradient(tmp_path):
    train(config(tmp_path, 4))
    assert all('accumulated' not in weights_of(tmp_path / f'iter_{i}.pth') for i in (4, 8))


def test_another_number_drops_what_was_accumulated(tmp_path):
    """As from a file that never had it, and with a warning."""
    train(config(tmp_path / 'a', 3))
    file, bare = tmp_path / 'a' / 'iter_4.pth', tmp_path / 'bare.pth'
    saved = weights_of(file)
    saved.pop('accumulated')
    torch.save(saved, bare)
    for name, start in (('b', file), ('c', bare)):
        resumed(config(tmp_path / name, 2), start, tmp_path / name)
    b, c = (weights_of(tmp_path / name / 'iter_8.pth')['state_dict'] for name in 'bc')
    assert_same(b, c)
    log, other = (next((tmp_path / name).rglob('*.log')).read_text() for name in 'bc')
    assert 'accumulative_counts=3, and this run accumulates 2' in log and 'dropped' in log
    assert 'dropped' not in other


def rank_gradients(rank):
    """Gradients that differ between the ranks, one of them on rank 0 alone."""
    model = nn.ModuleDict({name: nn.Linear(2, 1, bias=False) for name in 'abc'})
    model['a'].weight.grad = torch.tensor([[1., 2.]]) * (rank + 1)
    if rank == 0:
        model['b'].weight.grad = torch.tensor([[4., 6.]])
    runner = type('Runner', (), dict(model=model))
    share_gradients(runner)
    return {name: model[name].weight.grad for name in 'abc'}


@pytest.mark.slow
def test_the_ranks_share_what_they_accumulated(tmp_path):
    """The checkpoint of rank 0 then holds what every rank has."""
    for shared in on_two_processes(rank_gradients, tmp_path):
        assert shared['a'].tolist() == [[1.5, 3.]]
        assert shared['b'].tolist() == [[2., 3.]]
        assert shared['c'] is None
