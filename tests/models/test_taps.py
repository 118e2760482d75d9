"""Reading tensors inside networks."""

import pytest
import torch
from torch import nn

from mmkd.models.recorder import Recorder
from mmkd.models.taps import JoinedTap, Source, Tap, find_module, parse_tap, split_levels


class Block(nn.Module):
    """A BN whose output an in-place ReLU overwrites, then things with awkward signatures."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.split = Split()
        self.shared = nn.Conv2d(2, 2, 1)
        self.alias = self.shared
        self.unused = nn.Identity()
        self.tail = nn.Conv2d(2, 2, 1)

    def forward(self, x, fail=False):
        x = self.relu(self.bn(self.conv(x)))
        a, b = self.split(left=x, scale=2.)
        if fail:
            raise KeyError('fail')
        a, b = self.shared(a), self.shared(b)
        # OpenMMLab's heads are called like this, which forward hooks do not see
        return self.tail.forward(a + b)


class Split(nn.Module):
    def forward(self, *, left, scale):
        return tuple(part * scale for part in left.chunk(2, 1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Block()


@pytest.fixture
def x():
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def record(model, x, *taps, **kwargs):
    taps = [parse_tap(tap) for tap in taps]
    with Recorder(model, [tap.source for tap in taps], **kwargs) as recorder:
        model(x)
    return recorder, [tap.select(recorder.calls[tap.source]) for tap in taps]


def untouched(model):
    return all('forward' not in module.__dict__ and not module._forward_hooks
               and not module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize('text, path, is_input, index', [
    ('a', 'a', False, ()), ('a.b.0', 'a.b.0', False, ()), ('a[1]', 'a', False, (1,)),
    ('a[-1][2]', 'a', False, (-1, 2)), ('a:input', 'a', True, ()),
    ('a.b:input[0]', 'a.b', True, (0,)), ('a:input2', 'a', 2, ()),
])
def test_parse(text, path, is_input, index):
    tap = parse_tap(text)
    assert tap == Tap(Source(path, is_input), index)
    assert str(tap) == text and parse_tap(str(tap)) == tap


@pytest.mark.parametrize('text', ['', '.', 'a.', '.a', 'a b', 'a[', 'a[x]', 'a[]', 'a:output',
                                  'a[0]:input', 'a\n', 'a..b', 'a[0].b', 3, None, ['a']])
def test_parse_refuses(text):
    with pytest.raises(ValueError, match='is not a tap'):
        parse_tap(text)


def test_find_module_names_the_nearest(model):
    assert find_module(model, 'split') is model.split
    assert find_module(model, 'alias') is model.shared, 'the second name of a shared module'
    with pytest.raises(ValueError, match="Block has no module 'taill'; did you mean 'tail'"):
        find_module(model, 'taill')
    nested = nn.ModuleDict(dict(head=nn.ModuleDict(dict(conv_seg=nn.Identity())),
                                conv_sec=nn.Identity()))
    with pytest.raises(ValueError, match=r"did you mean 'head.conv_seg'\?"):
        find_module(nested, 'head.conv_sec')
    with pytest.raises(ValueError) as info:
        find_module(model, 'zzzz')
    assert 'did you mean' not in str(info.value)


def test_outputs_inputs_items_and_calls(model, x):
    _, (split, first, last, inner, given, out) = record(
        model, x, 'split[1]', 'shared[0]', 'shared[-1]', 'shared:input[1]', 'split:input', 'tail')
    model.eval().train()
    half = given * 2
    torch.testing.assert_close(split, half[:, 2:])
    torch.testing.assert_close(first, model.shared(half[:, :2]))
    torch.testing.assert_close(last, model.shared(half[:, 2:]))
    assert inner is split
    torch.testing.assert_close(out, model.tail(first + last))


def test_both_names_of_a_shared_module_are_heard(model, x):
    _, (one, other) = record(model, x, 'shared[0]', 'alias[0]')
    assert one is other
    assert untouched(model)


@pytest.mark.parametrize('text, parts', [
    ('split', ['a tuple of 2, not one tensor', "'split[0]' to 'split[1]'"]),
    ('split[2]', ['there are 2 items']), ('split[-3]', ['there are 2 items']),
    ('split[0][0]', ['a tensor of shape']), ('tail[0]', ['has no item [0]', 'drop the [0]']),
    ('shared', ['called 2 times', "'shared[0]' to 'shared[1]'"]), ('shared[2]', ['2 items']),
])
def test_what_is_no_tensor_says_how_to_choose(model, x, text, parts):
    with pytest.raises(ValueError) as info:
        record(model, x, text)
    for part in [text, *parts]:
        assert part in str(info.value)


def test_select_of_odd_values():
    with pytest.raises(ValueError, match='a dict, not one tensor'):
        parse_tap('a').select([dict(a=1)])
    with pytest.raises(ValueError, match='a NoneType'):
        parse_tap('a').select([None])
    with pytest.raises(ValueError, match='a list of 0'):
        parse_tap('a').select([[]])


# ---- pyramids -----------------------------------------------------------------------------
@pytest.mark.parametrize('text, levels', [('a[:]', (None, None)), ('a[:4]', (None, 4)),
                                          ('a[1:]', (1, None)), ('a[0][-3:-1]', (-3, -1))])
def test_parse_slices(text, levels):
    tap = parse_tap(text)
    assert tap.levels == levels and str(tap) == text and tap.source == Source('a')
    assert split_levels(text) == (text.rpartition('[')[0], levels)


def test_slices_are_pythons():
    maps = [torch.full((1, 1, 2, 2), float(i)) for i in range(5)]
    for text in ('a[:]', 'a[:4]', 'a[1:]', 'a[-2:]', 'a[1:3]'):
        expected = eval(text, dict(a=maps))
        for calls in ([tuple(maps)], maps):  # one call gives a tuple, or there are five calls
            assert parse_tap(text).read({Source('a'): calls}) == expected
    assert parse_tap('a[1][:]').select([(None, maps)]) == maps
    assert parse_tap('a[:]').select([maps[0]]) == maps[:1]


@pytest.mark.parametrize('text, calls, part', [
    ('a[7:]', [[torch.zeros(1)] * 5], 'no level is left of the 5'),
    ('a[:]', [([torch.zeros(1)], [torch.zeros(1)])], "choose an item first, with '[0][:]'"),
    ('a[:]', [dict(a=1)], 'gives a dict, no list of tensors')])
def test_what_is_no_pyramid(text, calls, part):
    with pytest.raises(ValueError) as error:
        parse_tap(text).select(calls)
    assert part in str(error.value)


def test_a_pyramid_of_several_modules():
    tap = JoinedTap((parse_tap('a'), parse_tap('b'), parse_tap('a[1]')))
    one, two = torch.zeros(1), torch.ones(1)
    assert tap.sources == (Source('a'), Source('b')) and str(tap) == '[a, b, a[1]]'
    part = JoinedTap(tap.taps[:2], (1, None))
    assert part.read({Source('a'): [one], Source('b'): [two]}) == [two]
    assert part.sources == (Source('b'),)
