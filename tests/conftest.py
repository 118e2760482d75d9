"""What every test starts from."""
import random
import sys

import numpy as np
import pytest
import torch


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
