"""Which weight suits each term of a distillation: measured on its own training data.

Published weights were found for other data, crops and networks; what a term does to the student
is its gradient. :func:`weigh` builds the training of a config as ``train.py`` does, in memory,
and measures at one or several stages of it.
"""
import contextlib
import itertools
import tempfile
import time

from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed
from torch import nn

from ..engine.randomness import random_state, set_random_state
from ..models.teacher import load_weights
from ..utils.checkpoint import load_checkpoint_file
from ..utils.configs import copy_config
from .data_check import check_datasets
from .gradients import measure


def weigh(cfg, batches=8, after=(0,), checkpoints=(), ratio=1., progress=None):
    """Measure a distillation's terms; see :func:`~mmkd.apis.gradients.measure`.

    Every stage sees the same first batches of the training data, in the order and with the
    augmentation of the config's seed (0 if it has none). The config, the work dir and the
    random generators are left as they are.

    Args:
        cfg (Config): A distillation, as ``train.py`` takes it.
        batches (int): How many batches.
        after (sequence): Stages, as iterations of plain training before it is measured.
        checkpoints (sequence): Stages, as files that a training wrote, instead of ``after``.
            The schedules are then at the file's iteration.
        ratio (float): Which ratio the suggested weights would bring.
        progress (callable, optional): Is told how far a training before a stage is.

    Returns:
        list: What ``measure`` gives for each stage, and ``stage``, ``iteration``, ``seed``.

    Raises:
        FileNotFoundError: The training data are not there, or a checkpoint.
        ValueError: The config has no distiller, ``after`` is past its end, or what
            ``measure`` or a checkpoint raises.
    """
    if batches < 1 or not ratio > 0 or min(after, default=0) < 0:
        raise ValueError(f'batches={batches}, ratio={ratio}, after={list(after)}: expected '
                         'at least one batch, a ratio above 0 and iterations from 0')
    for file in checkpoints:
        load_checkpoint_file(file, 'cpu')  # a wrong file is told before anything is built
    cfg = _in_memory(cfg)
    check_datasets(cfg, ('train_dataloader',))
    hook = MeasureHook(batches, after, checkpoints, ratio, progress)
    state = random_state()
    with tempfile.TemporaryDirectory() as folder:
        try:
            cfg.work_dir = folder
            runner = Runner.from_cfg(cfg)
            if not isinstance(getattr(runner.model, 'distiller', None), nn.ModuleDict):
                raise ValueError(f'{cfg.filename!r} has no distiller, so there is no term to '
                                 'weigh: give a config with a teacher, or --student, --teacher '
                                 'and --recipe')
            runner.register_hook(hook)
            with contextlib.suppress(AllMeasured):
                runner.train()
        finally:
            set_random_state(state)
    return hook.stages


def _in_memory(cfg):
    """A copy of the config that trains alike and neither validates, saves nor logs."""
    cfg = copy_config(cfg)
    for key in ('val', 'test'):
        for part in ('dataloader', 'cfg', 'evaluator'):
            cfg[f'{key}_{part}'] = None
    cfg.default_hooks = dict(cfg.get('default_hooks') or {}, checkpoint=None, logger=None)
    cfg.visualizer = cfg.vis_backends = None
    cfg.randomness = dict(cfg.get('randomness') or {})
    if cfg.randomness.get('seed') is None:
        cfg.randomness['seed'] = 0
    cfg.launcher, cfg.resume, cfg.log_level = 'none', False, 'WARNING'
    return cfg


class AllMeasured(Exception):
    """Ends a training when its last stage is measured."""


class MeasureHook(Hook):
    """Measures before the first iteration or after some, and ends the training."""
    priority = 'LOWEST'  # after every hook that changes the model

    def __init__(self, batches, after, checkpoints, ratio, progress=None):
        self.batches, self.ratio, self.progress = batches, ratio, progress
        self.checkpoints = list(checkpoints)
        self.after = [] if checkpoints else sorted(set(after))
        self.stages, self._data, self._told = [], None, 0.

    def before_train(self, runner):
        self._told = time.time()
        last = max(self.after, default=0)
        if last > runner.max_iters:
            raise ValueError(f'--after {last}: the training has {runner.max_iters} iterations')
        new = {key: value.clone() for key, value in runner.model.state_dict().items()
               if key.startswith('distiller.')}
        for file in self.checkpoints:
            iteration, note = load_stage(runner.model, file, new)
            self._measure(runner, f'with the weights of {file}, iteration {iteration}{note}',
                          iteration)
        if 0 in self.after:
            self._measure(runner, 'before the first iteration', 0)
        self._end_if_done()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        done = runner.iter + 1
        if self.progress is not None and time.time() - self._told > 10:
            self._told = time.time()
            self.progress(f'training: {done} of {self.after[-1]} iterations')
        if done in self.after:
            self._measure(runner, f'after {done} iterations', done)
            self._end_if_done()

    def _end_if_done(self):
        if len(self.stages) == len(self.checkpoints) + len(self.after):
            raise AllMeasured

    def _measure(self, runner, stage, iteration):
        hub, state = runner.message_hub, random_state()
        before = hub.get_info('iter')
        try:
            hub.update_info('iter', iteration)
            # The same pictures, masks and dropout at every stage.
            set_random_seed(runner.seed)
            if self._data is None:
                loader = runner.build_dataloader(runner.cfg.train_dataloader, seed=runner.seed)
                self._data = list(itertools.islice(loader, self.batches))
            set_random_seed(runner.seed)
            found = measure(runner.model, self._data, self.ratio)
        finally:
            hub.update_info('iter', before)
            set_random_state(state)
        self.stages.append(dict(stage=stage, iteration=iteration, seed=runner.seed,
                                ratio=self.ratio, **found))


def load_stage(model, file, new):
    """Load the student and, where the file has them, what belongs to the terms.

    Args:
        model (OfflineDistiller): Its weights are replaced.
        file (str): What a training of it or of the student alone wrote.
        new (dict): State of connectors and losses, for those that the file lacks.

    Returns:
        tuple: The iteration, and a note on what the file lacks ('' if nothing).

    Raises:
        ValueError: The file has no weights, or they are not this student's.
    """
    load_weights(model.student, file, 'student')
    loaded = load_checkpoint_file(file, 'cpu')
    state = loaded.get('state_dict', loaded)
    found = {key: state[key] for key, value in new.items()
             if key in state and state[key].shape == value.shape}
    model.load_state_dict({**new, **found}, strict=False)
    lacks = len(new) - len(found)
    note = f'; {lacks} of {len(new)} tensors of connectors and losses are not in it: new ones' \
        if lacks else ''
    return (loaded.get('meta') or {}).get('iter', 0), note
