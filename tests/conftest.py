"""What every test starts from."""
import random

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def _as_in_a_new_process():
    """A Runner leaves its default scope and seeds behind; no test may depend on another's."""
    before = dict(DefaultScope._instance_dict)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)
