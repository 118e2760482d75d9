"""What the machine has for several trainings at a time: cores, memory, GPUs."""
import os
import platform
import re

import torch


def cores():
    """The cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus():
    """The visible GPUs, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    names = [name for name in visible.split(',') if name] if visible is not None else None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return names[:count] if names is not None else [str(i) for i in range(count)]


def device():
    """A name for what trains: the GPU's, or the CPU's with its cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = re.search(r'^model name\s*:\s*(.+)$', _read('/proc/cpuinfo'), re.MULTILINE)
    return f'{model[1] if model else platform.machine()}, {cores()} cores'


def available_memory():
    """Bytes that new processes can take, or None where the system does not say."""
    match = re.search(r'^MemAvailable:\s*(\d+) kB', _read('/proc/meminfo'), re.MULTILINE)
    free = [int(match[1]) * 1024] if match else []
    limit, used = _read('/sys/fs/cgroup/memory.max'), _read('/sys/fs/cgroup/memory.current')
    if limit.strip().isdigit() and used.strip().isdigit():  # 'max': no limit
        cache = re.search(r'^inactive_file (\d+)', _read('/sys/fs/cgroup/memory.stat'),
                          re.MULTILINE)
        free.append(int(limit) - int(used) + (int(cache[1]) if cache else 0))
    return min(free, default=None)


def resident_memory(pid):
    """Bytes that a process and its children hold now (0 if it is gone)."""
    match = re.search(r'^VmRSS:\s*(\d+) kB', _read(f'/proc/{pid}/status'), re.MULTILINE)
    children = _read(f'/proc/{pid}/task/{pid}/children').split()
    return (int(match[1]) * 1024 if match else 0) + sum(map(resident_memory, children))


def _read(path):
    try:
        with open(path, errors='replace') as file:
            return file.read()
    except OSError:
        return ''
