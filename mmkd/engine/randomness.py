"""The random generators' states as plain data."""
import random

import numpy as np
import torch


def random_state():
    """The states of torch, CUDA, numpy and Python, as data that ``weights_only=True`` loads."""
    kind, keys, *rest = np.random.get_state()
    return dict(torch=torch.get_rng_state(),
                cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
                numpy=[kind, torch.from_numpy(keys.astype(np.int64)), *rest],
                python=random.getstate())


def set_random_state(state, data_too=True):
    """Go back to a state; with ``data_too`` also in the generators that the data loading uses."""
    torch.set_rng_state(state['torch'].cpu())
    if len(state['cuda']) == (torch.cuda.device_count() if torch.cuda.is_available() else 0):
        for device, one in enumerate(state['cuda']):
            torch.cuda.set_rng_state(one.cpu(), device)
    if data_too:
        kind, keys, *rest = state['numpy']
        np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))
        version, internal, gauss = state['python']
        random.setstate((version, tuple(internal), gauss))
