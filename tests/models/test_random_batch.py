"""Where the dry run is made: on the model's device, or on the GPU if its operators need one."""
import contextlib
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmkd.models.random_batch import run_on_random_batch

SAMPLE = SimpleNamespace(to=lambda device: SAMPLE)


class Network(nn.Linear):
    """Notes where it, or a copy of it, was moved."""

    moves = []

    def to(self, device):
        self.moves.append(device)
        return self


@pytest.fixture
def library(monkeypatch):
    """Images of 8 or of 16 pixels; and a machine that has a GPU, to which nothing really moves."""
    monkeypatch.setattr(Network, 'moves', [])
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 0)
    monkeypatch.setattr(torch.random, 'fork_rng', lambda devices: contextlib.nullcontext())
    return SimpleNamespace(
        SIZES=((16, 16),), input_sizes=lambda model: [(8, 8)], input_channels=lambda model: [3],
        settle=lambda model: None, called=lambda model: 'it',
        make_batch=lambda model, size, channels: (torch.zeros(2, channels, *size), [SAMPLE]))


def test_the_smallest_that_works(library):
    def run(twin, batch):
        assert batch[0].shape[2] > 8, 'too small'
        return 'found'

    found, (inputs, samples), size = run_on_random_batch(Network(2, 2), library, 'student', run)
    assert found == 'found' and size == (16, 16) and inputs.shape == (2, 3, 16, 16)
    assert samples == [SAMPLE] and not Network.moves


@pytest.mark.parametrize('error', [
    RuntimeError('get_indice_pairs is not implemented on CPU'),
    RuntimeError('dynamic_point_to_voxel_forward_impl: implementation for device cpu not found'),
    TypeError('expected a tensor of type torch.cuda.IntTensor')])
@pytest.mark.parametrize('gpu', [True, False])
def test_operators_of_a_gpu_alone(library, monkeypatch, error, gpu):
    """What has no kernel on the CPU is tried on the GPU, where there is one."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
    model = Network(2, 2)

    def run(twin, batch):
        if not Network.moves:
            raise error
        assert twin is not model
        return 'found'

    if gpu:
        assert run_on_random_batch(model, library, 'student', run)[0] == 'found'
        assert Network.moves == ['cuda']
    else:
        with pytest.raises(ValueError, match='the student .it. does not run on a random batch'):
            run_on_random_batch(model, library, 'student', run)


def test_other_errors_are_not_tried_again(library):
    def run(twin, batch):
        raise RuntimeError('mat1 and mat2 shapes cannot be multiplied')

    with pytest.raises(ValueError, match='of 8 to 16 pixels: RuntimeError: mat1 and'):
        run_on_random_batch(Network(2, 2), library, 'student', run)
    assert not Network.moves
