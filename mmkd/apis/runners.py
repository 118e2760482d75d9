"""Building the model, and then the Runner around it.

In this order, since a Runner makes its folder and prints the config before it builds the
model: what is wrong with a model is told before anything is written.
"""
import copy
import filecmp
import glob
import inspect
import os
import shutil

from mmengine.dist import init_dist, is_distributed, master_only, sync_random_seed
from mmengine.logging import print_log
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import Runner, set_random_seed

from ..engine.randomness import random_state, set_random_state
from ..models.libraries import build_network
from ..utils.hints import did_you_mean
from ..utils.safe_loading import use_safe_loading
from .early_log import pass_on_log


def build_model(cfg):
    """The model of a config, as the Runner would build it: under the same seed.

    A seed is drawn and noted in ``cfg`` if it has none.
    """
    if cfg.get('launcher', 'none') != 'none' and not is_distributed():
        init_dist(cfg.launcher, **((cfg.get('env_cfg') or {}).get('dist_cfg') or {}))
    randomness = dict(cfg.get('randomness') or {})
    if randomness.get('seed') is None:
        randomness['seed'] = sync_random_seed()
    cfg.randomness = randomness
    set_random_seed(**randomness)
    model = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor') is not None and model.get('data_preprocessor') is None:
        model.data_preprocessor = cfg.data_preprocessor
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        return build_network(model)


def build_runner(cfg, model, record=True):
    """The Runner of a config around the model that :func:`build_model` made of it.

    ``runner_type`` is honoured. One that builds its model in a way of its own does so.

    Args:
        cfg (Config): Of the training or test.
        model (nn.Module): Nothing random may happen between building it and this call.
        record (bool): Write the config into the work dir, as the record of a training.
            It is in the run's dated folder in any case.
    """
    cls = runner_class(cfg)
    use_safe_loading()
    state = random_state()

    class Prepared(cls):
        def build_model(self, model_cfg):
            set_random_state(state)  # the Runner has seeded anew
            return model

        def build_train_loop(self, loop):
            loop = super().build_train_loop(loop)
            need_data(loop.dataloader)
            return loop

        @master_only
        def dump_config(self):
            _record_config(self, record)

    if getattr(cls, 'build_model', None) is not Runner.build_model:
        del Prepared.build_model
    Prepared.__name__, Prepared.__qualname__ = cls.__name__, cls.__qualname__
    runner = Prepared.from_cfg(cfg)
    pass_on_log(runner.logger)
    return runner


def need_data(loader):
    """Raise ValueError for an empty data set: an InfiniteSampler would look for a picture for
    ever."""
    if hasattr(loader.dataset, '__len__') and len(loader.dataset) == 0:
        raise ValueError('the data set of train_dataloader is empty')


def runner_class(cfg):
    """The Runner's class that ``runner_type`` names.

    Raises:
        ValueError: There is none of that name.
    """
    kind = cfg.get('runner_type', 'Runner')
    if inspect.isclass(kind):
        return kind
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')), \
            RUNNERS.switch_scope_and_registry(None) as registry:
        cls = registry.get(kind)
        known = [*registry.module_dict, *RUNNERS.module_dict]
    if cls is None:
        raise ValueError(f'runner_type {kind!r} is not registered{did_you_mean(kind, known)}; one '
                         'of your own needs its module in custom_imports')
    return cls


def _record_config(runner, in_work_dir):
    """Write the config into the dated folder and, unless somebody else's file is there, into
    the work dir."""
    name = os.path.basename(runner.cfg.filename or f'{runner.timestamp}.py')
    kept, target = os.path.join(runner.log_dir, name), os.path.join(runner.work_dir, name)
    runner.cfg.dump(kept)
    if not in_work_dir:
        return
    earlier = glob.glob(os.path.join(glob.escape(runner.work_dir), '*', '**', '*.py'),
                        recursive=True)
    if not os.path.exists(target) or any(filecmp.cmp(target, path, shallow=False)
                                         for path in earlier):
        shutil.copyfile(kept, target)
    else:
        print_log(f'{target} is no record of an earlier run and stays as it is; the config of '
                  f'this run is {kept}', logger=runner.logger)
