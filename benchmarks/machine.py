"""What a benchmark ran on."""
import platform
from pathlib import Path

import torch


def device_name(device):
    if device == 'cuda':
        return torch.cuda.get_device_name()
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.split(':')[1].strip() + ', 1 thread'
    return platform.processor()
