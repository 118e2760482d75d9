"""What every test starts from, and in which order tests run."""
import itertools
import os
import random
import sys

import numpy as np
import pytest
import torch

# Workers that run tests side by side (pytest -n) share the cores instead of fighting for them.
_WORKERS = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 1))
if _WORKERS > 1:
    torch.set_num_threads(max((os.cpu_count() or 1) // _WORKERS, 1))


def pytest_collection_modifyitems(items):
    """Those that train or install come last: a mistake shows in the first minutes."""
    items.sort(key=lambda item: item.get_closest_marker('slow') is not None)


@pytest.fixture(autouse=True)
def _as_in_a_new_process():
    """A Runner leaves its default scope, its length and seeds behind; no test may depend on
    another's.

    mmengine is not imported here: tests/ops runs where there is only torch.
    """
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    before = [dict(known) for known in _known_to_mmengine()]
    yield
    for known, was in itertools.zip_longest(_known_to_mmengine(), before, fillvalue={}):
        known.clear()
        known.update(was)


def _known_to_mmengine():
    """What mmengine keeps by name in this process, if it was imported."""
    registry, logging = (sys.modules.get(f'mmengine.{part}') for part in ('registry', 'logging'))
    return [registry.DefaultScope._instance_dict, logging.MessageHub._instance_dict] \
        if registry and logging else []
