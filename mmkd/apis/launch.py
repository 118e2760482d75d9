"""What the tools fit to the machine: processes, mixed precision, folders."""
import datetime
import os
import tempfile
import time

from mmengine.device import get_device
from mmengine.logging import print_log
from torch import distributed

from ..utils.configs import type_name


def use_cpu_processes(cfg):
    """Let several CPU processes train or test together where there is no accelerator.

    mmengine starts torch's launcher with NCCL and one GPU per process. Does nothing
    elsewhere.
    """
    if cfg.get('launcher') != 'pytorch' or get_device() != 'cpu':
        return
    if not distributed.is_initialized():
        seconds = ((cfg.get('env_cfg') or {}).get('dist_cfg') or {}).get('timeout')
        distributed.init_process_group(
            'gloo', timeout=None if seconds is None else datetime.timedelta(seconds=seconds))
    wrapper = dict(cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel', broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False)))
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def end_processes():
    """Leave the process group, so that a training that is done also exits as one.

    Gloo's threads free the tensors of an exchange, for which they need the interpreter;
    where it is already shutting down, the process aborts (``terminate called without an
    active exception``) and the launcher reports that the training failed. Leaving the group
    does not end these threads while a DistributedDataParallel model was ever built.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    if distributed.get_backend() == 'gloo':
        distributed.barrier()  # every exchange is over, and a barrier itself holds no tensor
        time.sleep(0.1)  # the interpreter is free: the threads let go of their tensors
    distributed.destroy_process_group()


def use_amp(cfg):
    """Train with mixed precision.

    Raises:
        ValueError: The config's optim wrapper is of a kind that has none.
    """
    for wrapper in _wrappers(cfg.optim_wrapper):
        kind = type_name(wrapper, 'OptimWrapper')
        if kind == 'OptimWrapper':
            wrapper['type'] = 'AmpOptimWrapper'
            if wrapper.get('loss_scale') is None:
                wrapper['loss_scale'] = 'dynamic'
        elif kind not in ('AmpOptimWrapper', 'Bfloat16OptimWrapper'):
            raise ValueError(f"--amp: optim_wrapper.type is {kind!r}; only an 'OptimWrapper' can "
                             'be made one for mixed precision')


def use_cpu_amp(cfg):
    """Mixed precision in bfloat16 where there is no accelerator, on which mmengine's insists."""
    if get_device() != 'cpu' or cfg.get('optim_wrapper') is None:
        return
    for wrapper in _wrappers(cfg.optim_wrapper):
        if type_name(wrapper) == 'AmpOptimWrapper':
            for key in ('loss_scale', 'dtype', 'use_fsdp'):
                wrapper.pop(key, None)
            wrapper['type'] = 'mmkd.Bfloat16OptimWrapper'
            print_log('mixed precision on a CPU: bfloat16 autocast, without loss scaling',
                      logger='current')


def use_stock_amp(cfg):
    """The counterpart of :func:`use_cpu_amp`, for a config that needs nothing of mmkd."""
    for wrapper in _wrappers(cfg.get('optim_wrapper') or {}):
        if type_name(wrapper) == 'Bfloat16OptimWrapper':
            wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')


def _wrappers(cfg):
    """The dicts of one optim wrapper, or of several by name."""
    if 'optimizer' in cfg or not any(isinstance(value, dict) for value in cfg.values()):
        return [cfg]
    return [value for value in cfg.values() if isinstance(value, dict) and 'optimizer' in value]


def check_writable(folder, option):
    """Raise ValueError if ``folder`` cannot be made or written; ``option`` chooses another."""
    there = os.path.abspath(folder)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        text = os.strerror(error.errno) if error.errno else str(error)
        raise ValueError(f'{folder!r} cannot be written ({text}: {there!r}); choose another '
                         f'folder with {option}') from error
