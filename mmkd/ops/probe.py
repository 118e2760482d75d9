"""Whether a CUDA library runs on the GPUs here, before its kernels take over."""
import fcntl
import hashlib
import os
import subprocess
import sys

import torch

from . import build, nvcc

WORKS = 'works'
SECONDS = 120
ASK = '''
import ctypes, sys, torch
probe = ctypes.CDLL(sys.argv[1]).mmkd_probe
probe.restype = ctypes.c_char_p
wrong = probe()
sys.exit(wrong.decode() if wrong else 0)
'''


def why_not(library):
    """None if the kernels of ``library`` (a path) run on every visible GPU, else what goes wrong.

    A process of its own tries it: in this one it would start CUDA on every GPU, which takes
    memory on each and forbids a fork. That it works is remembered beside the cached libraries,
    for these GPUs and this driver.
    """
    if torch.cuda.device_count() == 0:
        return None
    machine = nvcc.gpus()
    if not machine:
        return _ask(library)
    key = [library.name, machine, os.environ.get('CUDA_VISIBLE_DEVICES', '')]
    name = f"probed_{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}"
    try:
        record = open(build.cache_folder() / name, 'a+')
    except OSError:  # a home that cannot be written to
        return _ask(library)
    with record:
        fcntl.flock(record, fcntl.LOCK_EX)  # of processes that start together, one tries it
        record.seek(0)
        if record.read() == WORKS:
            return None
        wrong = _ask(library)
        if wrong is None:
            record.write(WORKS)
        return wrong


def _ask(library):
    try:
        done = subprocess.run([sys.executable, '-c', ASK, str(library)], capture_output=True,
                              text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f'a trivial kernel did not end within {SECONDS} s'
    return (done.stderr.strip() or f'exit code {done.returncode}') if done.returncode else None
