"""What every test starts from, and in which order tests run."""
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
    """A Runner leaves its default scope and seeds behind; no test may depend on another's.

    mmengine is not imported here: tests/ops runs where there is only torch.
    """
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    registry = sys.modules.get('mmengine.registry')
    before = dict(registry.DefaultScope._instance_dict) if registry else {}
    yield
    registry = sys.modules.get('mmengine.registry')
    if registry:
        registry.DefaultScope._instance_dict.clear()
        registry.DefaultScope._instance_dict.update(before)
