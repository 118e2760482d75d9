"""Recording: what a listened-to model is afterwards, when it stops, what is watched."""
# ruff: noqa: F811 - fixtures are imported
import copy
import pickle

import pytest
import torch
from torch import nn

from mmkd.models.recorder import AllTapsRead, Recorder
from mmkd.models.taps import Source, parse_tap
from tests.models.test_taps import Split, model, record, untouched, x  # noqa: F401


@pytest.mark.parametrize('training', [True, False])
def test_in_place_operations_are_found_and_kept_away(model, x, training):
    model.train(training)
    bn, relu_in = parse_tap('bn').source, parse_tap('relu:input').source
    sources = [bn, relu_in, Source('conv'), Source('relu'), Source('split')]
    with Recorder(model, sources, watch=True) as recorder, torch.no_grad():
        model(x)
    assert recorder.overwritten() == {bn, relu_in}
    expected = model.bn(model.conv(x))  # train mode: same batch, same statistics
    assert (expected < 0).any(), 'the ReLU changes it, so the test proves something'
    _, (got, given) = record(model, x, 'bn', 'relu:input', clone={bn, relu_in})
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    torch.testing.assert_close(given, expected, rtol=0, atol=0)
    # and the network's output and the tap's gradient are as without
    grad, = torch.autograd.grad(got.sum(), model.bn.weight)
    again, = torch.autograd.grad(model.bn(model.conv(x)).sum(), model.bn.weight)
    torch.testing.assert_close(grad, again)


def test_items_of_a_tuple_are_watched():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.two = Split()

        def forward(self, x):
            a, _ = self.two(left=x, scale=1.)
            return a.add_(1)

    source = Source('two')
    with Recorder(Pair(), [source], watch=True) as recorder:
        recorder.model(torch.zeros(1, 2))
    assert recorder.overwritten() == {source}
    with Recorder(Pair(), [source], clone={source}) as recorder:
        recorder.model(torch.zeros(1, 2))
    assert recorder.calls[source][0][0].item() == 0


def test_nothing_is_left(model, x):
    own = model.forward
    record(model, x, 'bn', 'tail', 'split[0]')
    assert untouched(model) and model.forward == own
    pickle.loads(pickle.dumps(model))
    model.tail.forward = marked = lambda x: x  # somebody else's patch survives
    record(model, x, 'tail')
    assert model.tail.forward is marked


def test_errors_restore_everything(model, x):
    with pytest.raises(KeyError), Recorder(model, [Source('bn'), Source('tail')]):
        model(x, fail=True)
    assert untouched(model)
    with pytest.raises(ValueError, match='no module'), \
            Recorder(model, [Source('bn'), Source('nowhere')]):
        pass
    assert untouched(model)


def test_a_listened_to_model_can_be_copied_and_pickled(model, x):
    with Recorder(model, [Source('bn')]) as recorder:
        twin = copy.deepcopy(model)
        pickled = pickle.loads(pickle.dumps(model))
        model(x)
    assert len(recorder.calls[Source('bn')]) == 1
    twin(x), pickled(x)
    assert len(recorder.calls[Source('bn')]) == 1, 'the copy does not report to us'


def test_stops_when_all_have_fired_as_often_as_told(model, x):
    ran = []
    handle = model.tail.register_forward_pre_hook(lambda *_: ran.append(1))
    model.tail(torch.zeros(1, 2, 1, 1))
    assert ran.pop() == 1, 'the hook works'
    want = {Source('shared'): 2, Source('bn'): 1}
    with Recorder(model, want, stop_after=want) as recorder:
        with pytest.raises(AllTapsRead):
            model(x)
    assert [len(recorder.calls[s]) for s in want] == [2, 1] and not ran
    handle.remove()
    assert untouched(model)
    assert not issubclass(AllTapsRead, Exception), 'no model swallows it'


def test_the_same_recorder_class_nests(model, x):
    with Recorder(model, [Source('bn')]) as outer:
        with Recorder(model, [Source('bn'), Source('conv')]) as inner:
            model(x)
        model(x)
    assert len(outer.calls[Source('bn')]) == 2 and len(inner.calls[Source('bn')]) == 1
    assert untouched(model)


def test_second_inputs(model, x):
    class Adds(torch.nn.Module):
        def forward(self, a, b, c=None):
            return a + b

    adds = torch.nn.ModuleDict(dict(adds=Adds()))
    second, third = Source('adds', 2), Source('adds', 3)
    with Recorder(adds, [second, third]) as recorder:
        adds['adds'](x, x + 1)
        adds['adds'](x, b=x + 2)
        adds['adds'](x, x, c=x + 3)
    assert [torch.equal(value, x + i) for value, i in zip(recorder.calls[second], (1, 2, 0),
                                                          strict=True)] == [True] * 3
    assert len(recorder.calls[third]) == 1 and torch.equal(recorder.calls[third][0], x + 3)
