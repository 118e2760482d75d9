"""benchmarks/bev_step.py times what it says, and compares what is the same."""
import os
import sys
import time
import types

import pytest
import torch
from torch.utils.checkpoint import checkpoint

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'benchmarks')
FORWARD, BACKWARD = .02, .05


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


class Busy(torch.autograd.Function):
    """Twice its input, which takes its time both ways."""

    @staticmethod
    def forward(ctx, x, forward, backward):
        ctx.seconds = backward
        ctx.save_for_backward(x)
        return wait(forward, 2 * x)

    @staticmethod
    def backward(ctx, grad):
        assert ctx.saved_tensors
        return wait(ctx.seconds, 2 * grad), None, None


def wait(seconds, value):
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        pass
    return value


@pytest.fixture
def work(monkeypatch):
    """A module with ``part``, which is to be timed, and ``rest``."""
    module = types.ModuleType('work')
    module.part = lambda x: Busy.apply(x, FORWARD, BACKWARD)
    module.rest = lambda x: Busy.apply(x, .03, .07)
    monkeypatch.setitem(sys.modules, 'work', module)
    monkeypatch.setattr('bev_parts.PARTS', dict(masks=['work:part'], heatmaps=[]))
    return module


@pytest.mark.parametrize('recomputed', [False, True])
def test_a_part_is_timed_forward_and_backward_and_alone(work, recomputed):
    from bev_parts import Watch
    x, given = torch.ones(3, requires_grad=True), work.part

    def inner(x):
        return work.rest(work.part(work.rest(x)))

    with Watch('cpu') as watch:
        before = work.rest(x)
        middle = checkpoint(inner, before, use_reentrant=False) if recomputed else inner(before)
        (work.rest(middle) + work.rest(before)).sum().backward()
    expected = FORWARD * (2 if recomputed else 1) + BACKWARD
    assert expected <= watch.seconds['masks'] < expected + .02 and not watch.seconds['heatmaps']
    assert work.part is given and x.grad.tolist() == [36.] * 3


def test_a_part_within_a_part_counts_once_and_needs_no_gradient(work, monkeypatch):
    from bev_parts import Watch
    monkeypatch.setattr('bev_parts.PARTS', dict(masks=['work:part', 'work:whole']))
    work.whole = lambda x: work.part(x)
    with Watch('cpu') as watch:
        work.whole(torch.ones(1))
    assert FORWARD <= watch.seconds['masks'] < FORWARD + .01


def test_every_part_is_there():
    from bev_parts import PARTS, Watch
    with Watch('cpu') as watch:
        pass
    assert watch.seconds == dict.fromkeys(PARTS, 0.)


def test_the_volume_is_the_same_function(monkeypatch):
    import bev_volume
    assert max(bev_volume.differences('cpu', (2, 3)).values()) < 1e-13
    cells = bev_volume.VolumeViewTransformer.cells
    monkeypatch.setattr(bev_volume.VolumeViewTransformer, 'cells', lambda self, geometry: cells(
        self, geometry + .8))
    with pytest.raises(AssertionError, match='differ by'):
        bev_volume.differences('cpu', (2, 3))


def test_targets_are_met_or_missed_by_their_numbers():
    from bev_table import step_row, view_rows
    row = dict(name='x', rounds=2, step=1.1, share=.0301, parts=dict.fromkeys(
        ('masks', 'heatmaps', 'sampling', 'alignment'), .001),
        seconds=dict(student=2., teacher=1., distilled=3.3))
    assert step_row(row) == \
        '| x | 2 | 2 | 1 | 3.3 | 1.100 | 1.0 | 1.0 | 1.0 | 1.0 | 3.01 % | 3 % MISSED |'
    assert step_row(dict(row, share=.03)).endswith('| 3.00 % | 3 % met |')
    view = dict(ms=dict(ours=5., volume=10.), mib=dict(ours=5., volume=10.), time=.5, memory=.5)
    assert [line.split(' | ')[-1] for line in view_rows(view)] == ['0.5 met |', '0.4 MISSED |']
