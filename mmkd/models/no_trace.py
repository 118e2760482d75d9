"""Running a model without leaving a trace on it."""
import contextlib
import copy
import random
from unittest import mock

import numpy as np
import torch
from mmengine.logging import MessageHub


def twin_of(model):
    """A copy of ``model`` to run in its place, so that nothing a forward keeps (caches,
    counters, statistics) stays; the model itself where it cannot be copied.

    Parameters that nobody has initialised yet (``torch.empty``) get small random values, with
    which a forward works.
    """
    try:
        with mock.patch.object(torch.Tensor, '__deepcopy__', _copy_tensor):
            twin = copy.deepcopy(model)
    except Exception:  # an attribute that cannot be copied, or not enough memory
        return model
    with torch.no_grad():
        for tensor in twin.parameters():
            if tensor.is_floating_point() and tensor.numel() and not tensor.abs().max() < 1e3:
                tensor.normal_(std=0.02)
    return twin


_deepcopy = torch.Tensor.__deepcopy__


def _copy_tensor(tensor, memo):
    """Also of what an earlier forward computed and a module kept, which torch refuses."""
    return _deepcopy(tensor if tensor.is_leaf else tensor.detach(), memo)


def no_processes():
    """A context in which no process group is seen: a network that is built is still on the CPU,
    where SyncBN and NCCL refuse to run in a group, and other ranks must not be waited for."""
    return mock.patch('torch.distributed.is_initialized', return_value=False)


@contextlib.contextmanager
def no_trace(model):
    """What forwards of a twin can change is put back: the random generators, and, if the twin
    shares them, buffers and every module's training flag. Meanwhile no process group is seen.

    Losses that ask how far training is (BoxInst, TOOD) are told: at the start, if it has not
    begun.
    """
    known = MessageHub.get_current_instance().runtime_info
    told = [key for key in ('iter', 'epoch') if key not in known]
    known.update(dict.fromkeys(told, 0))
    modules = list(model.modules())
    flags = [module.training for module in modules]
    # Some modules (EMAHead) put a new tensor in a buffer's place.
    buffers = [(module._buffers, name, buffer, buffer.clone()) for module in modules
               for name, buffer in module._buffers.items() if buffer is not None]
    states = random.getstate(), np.random.get_state()
    try:
        with no_processes(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        for key in told:
            known.pop(key, None)
        random.setstate(states[0])
        np.random.set_state(states[1])
        for owner, name, buffer, before in buffers:
            owner[name] = buffer.copy_(before)
        for module, flag in zip(modules, flags, strict=True):
            module.training = flag
