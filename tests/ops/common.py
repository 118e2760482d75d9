"""What the operator tests share."""
import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

#: where every operator is tested; test_library.py says so where the second is missing
DEVICES = ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]

#: reference recordings of official code, beside the repository; not part of it
RECORDED = Path(__file__).resolve().parents[3] / 'shared' / 'golden' / 'det3d'

#: for every fuzz test: `@FUZZ @given(...)`
FUZZ = settings(max_examples=int(os.environ.get('MMKD_FUZZ_EXAMPLES', 80)), deadline=None,
                derandomize=True, suppress_health_check=[HealthCheck.too_slow,
                                                         HealthCheck.data_too_large])


@contextlib.contextmanager
def threads(count):
    """Run with ``count`` threads, even where the machine has fewer cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def recorded(name, device='cpu'):
    """The arrays of a recording as tensors; skips the test where there is none."""
    path = RECORDED / f'{name}.npz'
    if not path.is_file():
        pytest.skip(f'no recording {path}')
    with np.load(path, allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]).to(device) for key in file.files}


def move(value, device):
    """``value`` with every tensor in it on ``device``."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, (tuple, list)):
        return getattr(value, '_make', type(value))(move(part, device) for part in value)
    return value


def on(device, op, *args):
    """``op(*args)`` with its tensors on ``device``, the result on the CPU.

    What is expected comes from the CPU: on a GPU a reference adds in no fixed order, breaks ties
    as it likes and has other bits for NaN.
    """
    return move(op(*move(args, device)), 'cpu')


def everywhere(op, *args):
    """``op(*args)`` on each device in turn, the results on the CPU."""
    for device in DEVICES:
        yield on(device, op, *args)


def tensors_of(result):
    """The tensors of a result, in order."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, (tuple, list)):
        return [t for part in result for t in tensors_of(part)]
    return []


def same_bits(a, b):
    """Equal bit for bit: NaN equals NaN, and -0 does not equal 0."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_floating_point():
        a, b = (t.contiguous().view({8: torch.int64, 4: torch.int32, 2: torch.int16}[
            t.element_size()]) for t in (a, b))
    return torch.equal(a, b)


def assert_repeatable(run):
    """``run()`` gives the same bits twice, and with 1, 2 and 5 threads."""
    expected = tensors_of(run())
    assert expected
    for count in (torch.get_num_threads(), 1, 2, 5):
        with threads(count):
            for a, b in zip(expected, tensors_of(run()), strict=True):
                assert same_bits(a, b), f'differs with {count} threads'
