"""hard_voxelize when as many voxels are open as may be, and as many cells as a key numbers."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmkd.ops import hard_voxelize

from .common import DEVICES, on

POWERS = '''
import torch
from tests.ops.common import DEVICES, on, same_bits
from mmkd.ops.hard_voxels import hard_voxelize_reference
points = torch.rand(4000, 3) * torch.tensor([128., 64., 1.])
for cells in ([128, 64, 1], [2 ** 17, 2 ** 17, 4]):  # keys of 32 bits, and of 64
    for power in (1, 3, 4, 6, 8, 11):
        for most in (2 ** power - 1, 2 ** power, 2 ** power + 1):
            case = points, [1., 1., 1.], [0., 0., 0.], cells, 2, most
            expected = hard_voxelize_reference(*case)
            assert len(expected[0]) == most
            for device in DEVICES:
                for a, b in zip(on(device, torch.ops.mmkd.hard_voxelize, *case), expected):
                    assert same_bits(a, b), (device, cells, most)
'''


def test_as_many_voxels_as_a_power_of_two():
    """More points are looked up when no more voxels may open: a search that fills its table must
    still end. In a process of its own, which can be stopped."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, '-c', POWERS], cwd=root, timeout=150, text=True,
                          capture_output=True, check=False,
                          env=os.environ | {'PYTHONPATH': str(root)})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('layers', [2, 3, 4])
def test_cells_whose_numbers_differ_by_a_power_of_two(device, layers):
    """By 2^32 and more: to a key of 32 bits they are one."""
    points = torch.full((layers, 3), .5)
    points[:, 2] += torch.arange(layers)
    bounds = 0, 0, 0, 2 ** 16, 2 ** 16, layers
    _, coors, counts = on(device, hard_voxelize, points, (1, 1, 1), bounds, 2)
    assert coors.tolist() == [[layer, 0, 0] for layer in range(layers)]
    assert counts.tolist() == [1] * layers
