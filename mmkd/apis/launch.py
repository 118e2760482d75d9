"""Processes: several on CPUs, and leaving them."""
import datetime
import time

from mmengine.device import get_device
from torch import distributed


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
