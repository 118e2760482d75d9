"""Whole trainings by mmengine's Runner: mixed precision, accumulation, EMA, resuming."""
import json

import pytest
import torch
from mmengine.hooks import Hook

from tests.cli import weights_of
from tests.engine.common import runner_of, train
from tests.helpers import runner_config, terms_of, tiny_distiller, tiny_segmentor


def no_batch_effects(recipe='cwd'):
    """GroupNorm and no dropout; mmseg's cross entropy averages over all pixels, ignored ones
    too, so that two batches add up."""
    return tiny_distiller(recipe, tiny_segmentor(norm='GN', dropout=0.))


def same(a, b):
    assert a.keys() == b.keys()
    return [key for key in a if not torch.equal(a[key], b[key])]


# ---- training -------------------------------------------------------------------------
@pytest.mark.parametrize('recipe', ['cwd', 'mgd', 'cirkd'])
def test_mixed_precision(tmp_path, recipe):
    terms = terms_of(recipe)
    if recipe == 'cirkd':
        terms['memory']['loss'].update(pixel_memory_size=40, region_memory_size=20)
    cfg = runner_config(tiny_distiller(terms), tmp_path)
    cfg.optim_wrapper.update(type='mmkd.Bfloat16OptimWrapper')
    runner, log = train(cfg)
    assert len(log.losses) == 4
    assert all(torch.tensor(list(step.values())).isfinite().all() for step in log.losses)
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}
    assert {v.dtype for k, v in weights_of(tmp_path / 'iter_4.pth')['state_dict'].items()
            if v.is_floating_point()} == {torch.float32}
    full = train(runner_config(tiny_distiller(terms), tmp_path / 'full'))[1]
    for half, whole in zip(log.losses[:1], full.losses[:1], strict=True):
        for key in half:
            if key.startswith('loss'):
                assert half[key] == pytest.approx(whole[key], rel=0.05), key


def test_accumulated_gradients_are_those_of_the_larger_batch(tmp_path):
    order = dict(type='DefaultSampler', shuffle=False)
    results = []
    for name, iters, batch, count in (('small', 4, 2, 2), ('large', 2, 4, 1)):
        cfg = runner_config(no_batch_effects(), tmp_path / name, iters, batch, 8)
        cfg.train_dataloader.sampler = order
        cfg.param_scheduler = None
        cfg.optim_wrapper.accumulative_counts = count
        runner, log = train(cfg)
        results.append((runner, [step['loss_logits'] for step in log.losses]))
    (small, a), (large, b) = results
    assert (a[0] + a[1]) / 2 == pytest.approx(b[0], rel=1e-5)
    for (key, x), y in zip(small.model.state_dict().items(), large.model.state_dict().values(),
                           strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6, msg=key)


def test_ema_holds_the_average_of_student_and_connectors(tmp_path):
    cfg = runner_config(tiny_distiller('fitnet'), tmp_path, iters=2)
    cfg.custom_hooks = [dict(type='EMAHook', momentum=0.5), *cfg.custom_hooks]
    seen = []

    class Watch(Hook):
        priority = 'VERY_HIGH'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append(copy_of(runner.model))

    runner, _ = runner_of(cfg)
    runner.register_hook(Watch())
    runner.train()
    final = copy_of(runner.model)
    saved = weights_of(tmp_path / 'iter_2.pth')
    assert saved['state_dict'].keys() == final.keys()
    keys = [key for key, _ in runner.model.named_parameters()]
    assert any(key.startswith('distiller.') for key in keys)
    for key in keys:
        # mmengine's average starts as a copy of the weights after the first iteration.
        average = seen[1][key] * 0.5 + final[key] * 0.5
        torch.testing.assert_close(saved['state_dict'][key], average, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(saved['ema_state_dict'][f'module.{key}'], final[key])
    cfg.resume, cfg.train_cfg.max_iters = True, 3
    assert len(train(cfg)[1].losses) == 1


def copy_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


# ---- resuming -------------------------------------------------------------------------
@pytest.mark.parametrize('by_epoch', [False, True])
def test_resume_continues_bit_for_bit(tmp_path, by_epoch):
    def config(name):
        terms = terms_of('mgd')
        terms['logits']['schedule'] = dict(type='linear', begin=0, end=6)
        cfg = runner_config(tiny_distiller(terms), tmp_path / name, iters=4)
        cfg.default_hooks.checkpoint.interval = 2
        cfg.train_cfg.val_interval = 1
        if by_epoch:
            cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=1)
            cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
            cfg.train_dataloader.dataset.length = 4
            cfg.default_hooks.checkpoint.by_epoch = True
        return cfg

    kind = 'epoch' if by_epoch else 'iter'
    straight = train(config('a'))[1].losses
    cfg = config('a')
    cfg.work_dir = str(tmp_path / 'b')
    cfg.load_from, cfg.resume = str(tmp_path / 'a' / f'{kind}_2.pth'), True
    resumed = train(cfg)[1].losses
    assert resumed == straight[-len(resumed):] and len(resumed) == len(straight) // 2
    a, b = (weights_of(tmp_path / name / f'{kind}_4.pth') for name in 'ab')
    assert same(a['state_dict'], b['state_dict']) == []
    for x, y in zip(a['optimizer']['state'].values(), b['optimizer']['state'].values(),
                    strict=True):
        assert torch.equal(x['momentum_buffer'], y['momentum_buffer'])


def test_files_of_a_stock_runner(tmp_path):
    """As a starting point (load_from) and to go on with (resume)."""
    alone = runner_config(tiny_segmentor(), tmp_path / 'stock', iters=2)
    alone.custom_hooks = []
    train(alone)
    file = str(tmp_path / 'stock' / 'iter_2.pth')
    with pytest.raises(Exception, match='weights_only|Weights only'):
        torch.load(file, weights_only=True)  # or this test shows nothing
    stock = torch.load(file, weights_only=False)

    start = runner_config(tiny_distiller('kd'), tmp_path / 'start', iters=1, load_from=file)
    start.optim_wrapper.optimizer.lr = 0.
    start.param_scheduler = None
    runner, _ = train(start)
    for key, _ in runner.model.student.named_parameters():
        assert torch.equal(runner.model.state_dict()[key], stock['state_dict'][key]), key

    again = runner_config(tiny_segmentor(), tmp_path / 'again', iters=4, load_from=file,
                          resume=True)
    assert len(train(again)[1].losses) == 2
    scalars = [json.loads(line) for line in next(
        (tmp_path / 'again').rglob('vis_data/scalars.json')).open()]
    assert [line['step'] for line in scalars if 'loss' in line] == [3, 4]
