"""What the tools do around the Runner: processes, and where to go on."""
import datetime
import glob
import os
import re
import time
import zipfile

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


def latest_checkpoint(work_dir):
    """The newest whole checkpoint of a work dir; None if training wrote none yet.

    The one that ``last_checkpoint`` names, if it is whole; else the one of the highest
    iteration or epoch. A work dir may have been moved since it was written.

    Raises:
        ValueError: There are checkpoints, but none is whole.
    """
    files = [path for path in glob.glob(os.path.join(glob.escape(work_dir), '*.pth'))
             if re.fullmatch(r'(iter|epoch)_\d+\.pth', os.path.basename(path))]
    files.sort(key=lambda path: (int(re.findall(r'\d+', os.path.basename(path))[0]),
                                 os.path.getmtime(path)), reverse=True)
    note = os.path.join(work_dir, 'last_checkpoint')
    if os.path.isfile(note):
        with open(note) as file:
            named = file.read().strip()
        moved = os.path.join(work_dir, os.path.basename(named))
        files = [path for path in (named, moved) if os.path.isfile(path)][:1] + files
    broken = []
    for path in dict.fromkeys(files):
        if _is_whole(path):
            if broken:
                print(f'{", ".join(broken)}: truncated; going on from {path}', flush=True)
            return path
        broken.append(path)
    if broken:
        raise ValueError(f'no checkpoint in {work_dir!r} is whole ({", ".join(broken)} truncated): '
                         'remove them to start anew, or choose one with --resume FILE')
    return None


def _is_whole(path):
    """Whether the end of the file is there (torch's older format has no such mark)."""
    with open(path, 'rb') as file:
        start = file.read(2)
    return bool(start) and (start != b'PK' or zipfile.is_zipfile(path))
