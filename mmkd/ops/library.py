"""Load the compiled kernels, or say once that the PyTorch reference is used."""
import os
import warnings

import torch

from . import build, probe

# What to run on: '' (the kernels of each device), 'reference' (none), and for tests
# 'emulated' (the CUDA sources on the CPU) and 'sanitized' (see `make sanitize`).
CHOICE = 'MMKD_OPS'
CHOICES = ('', 'reference', 'emulated', 'sanitized', 'sanitized-emulated')


def wanted_libraries(choice):
    """(kind, sanitize) of each library that ``$MMKD_OPS`` asks for."""
    if choice not in CHOICES:
        raise ValueError(f'{CHOICE}={choice!r} is not one of {CHOICES[1:]}')
    if choice == 'reference':
        return []
    if choice:
        return [('emulated' if 'emulated' in choice else 'cpu', 'sanitized' in choice)]
    # Without a GPU in sight a CUDA build of torch is not a reason to compile for minutes.
    on_gpu = torch.version.cuda is not None and torch.cuda.device_count() > 0
    return [('cpu', False)] + [('cuda', False)] * on_gpu


def load():
    """Load a library for each device that torch supports, building it where needed."""
    missing = []
    for kind, sanitize in wanted_libraries(os.environ.get(CHOICE, '')):
        try:
            why_not = [probe.why_not] if kind == 'cuda' else []
            torch.ops.load_library(str(build.build(kind, sanitize, *why_not)))
        except (build.BuildError, OSError) as error:
            missing.append(f'- {kind}: {error}')
    if missing:
        warnings.warn('mmkd.ops has no compiled kernels for the following and runs on its (slower) '
                      'PyTorch reference there:\n' + '\n'.join(missing), RuntimeWarning,
                      stacklevel=2)


def has_kernel(name, device='cpu'):
    """Whether ``mmkd::name`` runs a compiled kernel for tensors on ``device`` ('cpu', 'cuda')."""
    key = {'cpu': 'CPU', 'cuda': 'CUDA'}[torch.device(device).type]
    return torch._C._dispatch_has_kernel_for_dispatch_key(f'mmkd::{name}', key)
