"""Training with mmengine's Runner in the tests' own process."""
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

COUNT = iter(range(10 ** 6))


class Log(Hook):
    """Keeps what every iteration logged."""
    priority = 'VERY_LOW'

    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({key: float(value) for key, value in outputs.items()})


def runner_of(cfg):
    """A Runner of a config, under a name of its own, and its log."""
    runner = Runner.from_cfg(Config(dict(cfg.to_dict(), experiment_name=f'test_{next(COUNT)}')))
    log = Log()
    runner.register_hook(log)
    return runner, log


def train(cfg):
    runner, log = runner_of(cfg)
    runner.train()
    return runner, log
