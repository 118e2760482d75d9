"""Checkpoints that are plain data, and a resume that continues bit for bit."""
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from torch import nn

from ...registry import HOOKS
from ...utils.checkpoint import from_plain, to_plain
from ...utils.safe_loading import use_safe_loading
from ..accumulation import accumulated, restore_accumulated, share_gradients
from ..continuing import KEY, RestoredLosses, check_start, distillation_of
from ..randomness import random_state, set_random_state
from ..safe_saving import keep_until_saved, remove_old, use_whole_files

_RANDOM, _ACCUMULATED = 'random_state', 'accumulated'


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Makes a run's checkpoints loadable anywhere and its resume exact.

    - What the Runner saves is turned into plain data, so that
      ``torch.load(weights_only=True)``, the default of torch >= 2.6, reads it:
      any mmseg loads the student, and mmengine resumes.
    - The state of the random generators is saved and restored. mmengine skips the
      data that was already seen; without this, dropout and random masks would go
      on from another state.
    - Gradients that are being accumulated (``accumulative_counts``) are saved and restored.
    - A checkpoint of another training is refused: with a teacher where there is none now, of
      other terms, of another model. Losses that it had and this run lacks are not logged.
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
        self._restore = self._accumulated = self._losses = self._before_val = None
        self._resumed = False

    def before_run(self, runner):
        use_safe_loading()
        use_whole_files()

    def before_train(self, runner):
        save = runner.save_checkpoint

        def share_and_save(*args, **kwargs):  # called on every rank, the hooks on rank 0 alone
            share_gradients(runner)
            save(*args, **kwargs)

        runner.save_checkpoint = share_and_save

    def after_load_checkpoint(self, runner, checkpoint):
        self._resumed = resume = bool(getattr(runner, '_resume', False))
        model = getattr(runner.model, 'module', runner.model)
        if isinstance(model, nn.Module):  # the FlexibleRunner's is in its strategy
            check_start(model, checkpoint, runner._load_from or 'the latest checkpoint', resume)
        checkpoint['message_hub'] = from_plain(checkpoint.get('message_hub', {}))
        self._restore = checkpoint.get(_RANDOM) if resume else None
        self._accumulated = checkpoint.get(_ACCUMULATED) if resume else None

    def before_save_checkpoint(self, runner, checkpoint):
        weights = {key: value for key, value in checkpoint.items()
                   if key in ('state_dict', 'ema_state_dict')}
        checkpoint.update(to_plain({k: v for k, v in checkpoint.items() if k not in weights}))
        checkpoint[_RANDOM] = random_state()
        checkpoint[KEY] = distillation_of(runner.model)
        window = accumulated(runner)
        if window is not None:
            checkpoint[_ACCUMULATED] = window

    def before_train_epoch(self, runner):
        keep_until_saved(runner)
        # An iteration-based loop replays the data, which brings the generators that
        # the data uses to where they were; an epoch-based one starts the epoch anew.
        if self._restore is not None and isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._set(runner, self._restore, data_too=True)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self._restore is not None:
            self._set(runner, self._restore, data_too=False)
        if self._accumulated is not None:
            restore_accumulated(runner, self._accumulated)
            self._accumulated = None
        if self._resumed:
            self._losses = RestoredLosses(runner.message_hub)
            self._resumed = False

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        remove_old(runner)
        if self._losses is not None:
            self._losses.give_back()
            self._losses = None

    def _set(self, runner, state, data_too):
        self._restore = None
        own_seed = runner._randomness_cfg.get('diff_rank_seed', False) and get_rank() > 0
        if not own_seed:  # the checkpoint holds the state of rank 0
            set_random_state(state, data_too)

    def before_val(self, runner):
        self._before_val = random_state()

    def after_val(self, runner):
        set_random_state(self._before_val, data_too=True)
        remove_old(runner)

    def after_train_epoch(self, runner):
        remove_old(runner)
