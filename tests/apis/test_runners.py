"""The model is built before the Runner, and is the one that the Runner would have built."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmkd.apis import build_model, build_runner
from tests.engine.common import COUNT
from tests.helpers import runner_config, tiny_distiller, tiny_segmentor


def named(cfg):
    return Config(dict(cfg.to_dict(), experiment_name=f'runners_{next(COUNT)}'))


@pytest.mark.parametrize('model', [tiny_segmentor(), tiny_distiller('mgd')])
def test_training_is_that_of_a_stock_runner(tmp_path, model):
    """Weights and random numbers: two iterations with dropout end in the same weights."""
    states = []
    for name in ('stock', 'ours'):
        cfg = named(runner_config(model, tmp_path / name, iters=2))
        if name == 'stock':
            runner = Runner.from_cfg(cfg)
        else:
            torch.rand(3)  # what came before is of no account
            runner = build_runner(cfg, build_model(cfg))
            assert type(runner).__name__ == 'Runner' and isinstance(runner, Runner)
        runner.train()
        states.append(runner.model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_seed_is_drawn_and_noted(tmp_path):
    cfg = named(runner_config(tiny_segmentor(), tmp_path, randomness=dict(seed=None)))
    model = build_model(cfg)
    first = {key: value.clone() for key, value in model.state_dict().items()}
    assert isinstance(cfg.randomness.seed, int)
    again = build_model(cfg).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_an_empty_data_set_is_told_and_not_waited_for(tmp_path):
    cfg = named(runner_config(tiny_segmentor(), tmp_path, length=0))
    with pytest.raises(ValueError, match='the data set of train_dataloader is empty'):
        build_runner(cfg, build_model(cfg)).train()


def test_a_runner_that_builds_its_model_itself(tmp_path):
    @RUNNERS.register_module(force=True)
    class BuildsItself(Runner):
        def build_model(self, model):
            built = super().build_model(model)
            built.own = True
            return built

    cfg = named(runner_config(tiny_segmentor(), tmp_path, iters=1))
    cfg = Config(dict(cfg.to_dict(), runner_type='BuildsItself'))
    assert build_runner(cfg, build_model(cfg)).model.own
