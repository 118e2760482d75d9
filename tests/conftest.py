"""What every test starts from, and in which order tests run."""
import os
import random
import sys

import numpy as np
import pytest
import torch

# Workers that run tests side by side (pytest -n) share the cores instead of fighting for them,
# and so do the processes they start: sums over other threads differ in the last bit.
_WORKERS = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 1))
if _WORKERS > 1:
    _THREADS = max((os.cpu_count() or 1) // _WORKERS, 1)
    torch.set_num_threads(_THREADS)
    os.environ['OMP_NUM_THREADS'] = str(_THREADS)


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
    _forget()
    yield
    _forget()


def _forget():
    """Empty what mmengine keeps by name in this process, if it was imported.

    What a fixture of a whole module left behind goes, too: whose it is depends on which tests
    this worker ran before.
    """
    registry, logging = (sys.modules.get(f'mmengine.{part}') for part in ('registry', 'logging'))
    if registry and logging:
        registry.DefaultScope._instance_dict.clear()
        logging.MessageHub._instance_dict.clear()
