"""Checkpoints that are plain data, and a resume that continues bit for bit."""
import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

from ...registry import HOOKS
from ...utils.checkpoint import from_plain, to_plain
from ...utils.safe_loading import use_safe_loading
from ..safe_saving import keep_until_saved, remove_old, use_whole_files

_KEY = 'random_state'


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a run's checkpoints loadable anywhere and its resume exact.

    - What the Runner saves is turned into plain data, so that
      ``torch.load(weights_only=True)``, the default of torch >= 2.6, reads it:
      any mmseg loads the student, and mmengine resumes.
    - The state of the random generators is saved and restored. mmengine skips the
      data that was already seen; without this, dropout and random masks would go
      on from another state.
    - A validation between two iterations draws no random number of the training's,
      so that a run resumed after it equals one that was not interrupted.
    - A checkpoint appears when it is complete, and the one it replaces (with
      ``max_keep_ckpts``) is removed after that: see ``mmkd/engine/safe_saving.py``.

    With several processes the saved state is that of rank 0, which the others share in
    iteration-based training. What continues inside data loader workers from one epoch
    to the next (``persistent_workers`` in epoch-based training) is not restored.
    """
    priority = 'VERY_LOW'  # after every hook that edits the checkpoint

    def __init__(self):
        self._restore = self._before_val = None

    def before_run(self, runner):
        use_safe_loading()
        use_whole_files()

    def after_load_checkpoint(self, runner, checkpoint):
        checkpoint['message_hub'] = from_plain(checkpoint.get('message_hub', {}))
        self._restore = checkpoint.get(_KEY) if getattr(runner, '_resume', False) else None

    def before_save_checkpoint(self, runner, checkpoint):
        weights = {key: value for key, value in checkpoint.items()
                   if key in ('state_dict', 'ema_state_dict')}
        checkpoint.update(to_plain({k: v for k, v in checkpoint.items() if k not in weights}))
        checkpoint[_KEY] = _random_state()

    def before_train_epoch(self, runner):
        keep_until_saved(runner)
        # An iteration-based loop replays the data, which brings the generators that
        # the data uses to where they were; an epoch-based one starts the epoch anew.
        if self._restore is not None and isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._set(runner, self._restore, data_too=True)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self._restore is not None:
            self._set(runner, self._restore, data_too=False)

    def _set(self, runner, state, data_too):
        self._restore = None
        own_seed = runner._randomness_cfg.get('diff_rank_seed', False) and get_rank() > 0
        if not own_seed:  # the checkpoint holds the state of rank 0
            _set_random_state(state, data_too)

    def before_val(self, runner):
        self._before_val = _random_state()

    def after_val(self, runner):
        _set_random_state(self._before_val, data_too=True)
        remove_old(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        remove_old(runner)

    def after_train_epoch(self, runner):
        remove_old(runner)


def _random_state():
    """The generators' states as plain data."""
    kind, keys, *rest = np.random.get_state()
    return dict(torch=torch.get_rng_state(),
                cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                numpy=[kind, torch.from_numpy(keys.astype(np.int64)), *rest],
                python=random.getstate())


def _set_random_state(state, data_too):
    torch.set_rng_state(state['torch'].cpu())
    if len(state['cuda']) == (torch.cuda.device_count() if torch.cuda.is_available() else 0):
        for device, one in enumerate(state['cuda']):
            torch.cuda.set_rng_state(one.cpu(), device)
    if data_too:
        kind, keys, *rest = state['numpy']
        np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
        version, internal, gauss = state['python']
        random.setstate((version, tuple(internal), gauss))
