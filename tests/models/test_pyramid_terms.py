"""Terms of pyramids and of several taps: what connectors and losses get."""
import copy

import pytest
import torch
from torch import nn

from mmkd.models.extras import Extras
from mmkd.models.schedules import Time
from mmkd.models.taps import parse_tap
from mmkd.models.terms import Term, TermSpec

SIZE = 64


class Mean(nn.Module):
    """One map; remembers what it was built with and asked for."""

    def __init__(self, student_channels=None, teacher_channels=None, stride=None):
        super().__init__()
        self.built = student_channels, teacher_channels, stride
        self.scale = nn.Parameter(torch.tensor(1.))

    def forward(self, student, teacher, stride, boxes=None):
        self.asked = stride, boxes
        return self.scale * (student.mean() * stride + 0 * teacher.mean())


class Parts(nn.Module):
    def forward(self, student, teacher):
        return dict(a=student.mean(), b=2 * student.mean())


class Whole(nn.Module):
    pyramid = True

    def __init__(self, student_channels=None, teacher_channels=None, strides=None):
        super().__init__()
        self.built = student_channels, teacher_channels, strides

    def forward(self, student, teacher, strides):
        self.given = student, teacher, strides
        return sum(x.sum() for x in student)


class ByTap(nn.Module):
    def forward(self, student, teacher):
        assert set(student) == set(teacher) == {'cls', 'reg'}
        return dict(cls=student['cls'].sum(), reg=student['reg'].sum())


class FromTeacher(nn.Module):
    """A connector that takes all levels, and the teacher's."""
    pyramid = True

    def __init__(self, in_channels=None, out_channels=None):
        super().__init__()
        self.built = in_channels, out_channels

    def forward(self, x, teacher):
        return [a + b.mean() for a, b in zip(x, teacher, strict=True)]


def pyramid(channels, strides=(8, 16, 32), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, channels, SIZE // s, SIZE // s, generator=generator) for s in strides]


def make(loss, student, teacher, taps=None, **cfg):
    spec = TermSpec('t', dict(tap=taps or 'neck', loss=loss, **cfg), ['teacher'])
    assert not spec.mistakes, spec.mistakes.errors
    tap = parse_tap('a[:]')
    read = {side: dict.fromkeys(value, tap) if isinstance(value, dict) else tap
            for side, value in dict(student=student, teacher=teacher).items()}
    makers = dict(boxes=lambda batch: 'boxes')
    term = Term(spec, read, dict(student=student, teacher=teacher),
                dict(student=SIZE, teacher=SIZE), {}, makers)
    return term, Extras(makers, None, None)


def value(term, student, teacher, extras, iteration=0):
    return term(student, teacher, Time(iteration, 100), extras)


def test_a_loss_for_one_map_is_built_for_each_level_and_added_up():
    student, teacher = pyramid(3), pyramid(5, seed=1)
    term, extras = make(dict(type=Mean), student, teacher, weight=2.)
    assert [loss.built for loss in term.loss] == [(3, 5, 8), (3, 5, 16), (3, 5, 32)]
    expected = 2 * sum(x.mean() * s for x, s in zip(student, (8, 16, 32), strict=True))
    torch.testing.assert_close(value(term, student, teacher, extras)['loss_t'], expected)
    assert [loss.asked for loss in term.loss] == [(s, 'boxes') for s in (8, 16, 32)]
    assert len(list(term.parameters())) == 3


def test_parts_are_added_up_by_name():
    student = pyramid(3)
    term, extras = make(dict(type=Parts), student, student)
    term.try_out(dict(student=student, teacher=student), extras)
    found = value(term, student, student, extras)
    total = sum(x.mean() for x in student)
    torch.testing.assert_close(found, dict(loss_t_a=total, loss_t_b=2 * total))


class OtherParts(nn.Module):
    """Its parts are others at the levels of some strides."""

    def __init__(self, stride=None, at=()):
        super().__init__()
        self.parts = 'a' if stride in at else 'ab'

    def forward(self, student, teacher):
        return dict.fromkeys(self.parts, student.mean())


@pytest.mark.parametrize('at', [(8,), (16,), (8, 16), (32,)])
def test_a_part_that_a_level_lacks_is_not_lost(at):
    student = pyramid(3)
    term, extras = make(dict(type=OtherParts, at=at), student, student)
    with pytest.raises(ValueError, match="same parts at every level, but gave 'a'"):
        value(term, student, student, extras)


def test_a_loss_for_all_levels_gets_them_at_once():
    student, teacher = pyramid(3), pyramid(5, (4, 8, 16, 32))
    term, extras = make(dict(type=Whole), student, teacher, levels='common')
    assert term.loss.built == ([3] * 3, [5] * 3, (8, 16, 32))
    value(term, student, teacher, extras)
    s, t, strides = term.loss.given
    assert [x.shape for x in t] == [x.shape for x in teacher[1:]] and len(s) == 3
    assert strides == (8, 16, 32)


def test_several_taps_by_name_level_by_level():
    student = dict(cls=pyramid(3), reg=pyramid(4))
    term, extras = make(dict(type=ByTap), student, student, dict(cls='cls', reg='reg'))
    found = value(term, student, student, extras)
    torch.testing.assert_close(found, {f'loss_t_{key}': sum(x.sum() for x in student[key])
                                       for key in student})


@pytest.mark.parametrize('shared, count', [(False, 3), (True, 1)])
def test_connectors_of_levels(shared, count):
    student, teacher = pyramid(3), pyramid(5)
    term, extras = make(dict(type='mmkd.FitNetLoss'), student, teacher, student_connector=dict(
        type='mmkd.ConvConnector', **(dict(shared=True) if shared else {})))
    weights = [p for name, p in term.named_parameters() if name.endswith('weight')]
    assert [w.shape for w in weights] == [(5, 3, 1, 1)] * count
    convs = list(term.student_connector)
    expected = sum((convs[min(i, count - 1)](x) - y).square().mean()
                   for i, (x, y) in enumerate(zip(student, teacher, strict=True)))
    torch.testing.assert_close(value(term, student, teacher, extras)['loss_t'], expected)


def test_connectors_by_name():
    student, teacher = (dict(cls=pyramid(c), reg=pyramid(4)) for c in (3, 6))
    taps = dict(cls='cls', reg='reg')
    conv = dict(type='mmkd.ConvConnector')
    term, extras = make(dict(type=ByTap), student, teacher, taps,
                        student_connector=dict(cls=conv))
    s, _ = term.connect(student, teacher)
    assert [x.shape[1] for x in s['cls']] == [6] * 3
    assert all(a is b for a, b in zip(s['reg'], student['reg'], strict=True))
    with pytest.raises(ValueError, match="student_connector.clss: there is no tap of this name.*"
                                         'cls, reg'):
        make(dict(type=ByTap), student, teacher, taps, student_connector=dict(clss=conv))
    with pytest.raises(ValueError, match='needs a connector for each tap'):
        make(dict(type=ByTap), student, teacher, taps, student_connector=conv)


def test_a_connector_for_all_levels_sees_the_teacher():
    student, teacher = pyramid(3), pyramid(5, (4, 8, 16, 32))
    term, _ = make(dict(type=Whole), student, teacher, levels='common',
                   student_connector=dict(type=FromTeacher))
    assert term.student_connector.built == ([3] * 3, [5] * 3)
    s, t = term.connect(*(term.pairing.take(side, v) for side, v in
                          dict(student=student, teacher=teacher).items()))
    for a, b, c in zip(s, student, teacher[1:], strict=True):
        assert torch.equal(a, b + c.mean())
    with pytest.raises(ValueError, match='shared=True is for a connector of every level'):
        make(dict(type=Whole), student, teacher, levels='common',
             student_connector=dict(type=FromTeacher, shared=True))


def test_channels_that_differ_in_one_level():
    student, teacher = pyramid(3), pyramid(3)
    teacher[1] = torch.zeros(2, 4, 4, 4)
    with pytest.raises(ValueError, match='student gives 3 and the teacher 4.*ConvConnector'):
        make(dict(type='mmkd.FitNetLoss'), student, teacher)


@pytest.mark.parametrize('differs, taps, cure', [
    ('feature', dict(feature='neck', cls='cls'),
     r"student_connector=dict\(feature=dict\(type='mmkd.ConvConnector'\)\)"),
    ('feature', dict(feature='cls_tower.3', cls='cls'), 'student_connector='),
    ('feature', dict(feature='bbox_head.cls_convs.0[:]', cls='cls'), 'student_connector='),
    ('cls', dict(feature='neck', cls='cls'), 'a different number of classes'),
    ('cls', dict(feature='neck', cls='bbox_head.retina_cls[:]'), 'a different number of classes')])
def test_the_cure_is_that_of_the_tap_whose_channels_differ(differs, taps, cure):
    student, teacher = (dict(feature=pyramid(4), cls=pyramid(3)) for _ in range(2))
    teacher[differs] = pyramid(7)
    with pytest.raises(ValueError, match=f'the teacher 7: .*{cure}'):
        make(dict(type='mmkd.FRSLoss'), student, teacher, taps)


def test_off_touches_every_level_and_parameter():
    student, teacher = pyramid(3), pyramid(5)
    for x in student:
        x.requires_grad_()
    term, extras = make(dict(type=Mean), student, teacher, schedule=dict(type='stop', end=0))
    value(term, student, teacher, extras)['loss_t'].backward()
    assert all(x.grad is not None and not x.grad.any() for x in student)
    assert all(p.grad is not None for p in term.parameters())


def test_a_copy_computes_the_same():
    student, teacher = pyramid(3), pyramid(5)
    term, extras = make(dict(type='mmkd.FitNetLoss'), student, teacher,
                        student_connector=dict(type='mmkd.ConvConnector'))
    torch.testing.assert_close(value(copy.deepcopy(term), student, teacher, extras),
                               value(term, student, teacher, extras))


def test_maps_whose_number_varies_need_a_loss_and_a_connector_for_any_number():
    student, conv = pyramid(3), dict(type='mmkd.ConvConnector')
    with pytest.raises(ValueError, match='takes any number of maps'):
        make(dict(type='mmkd.FitNetLoss'), student, student, varying=True)
    with pytest.raises(ValueError, match='must be one for all maps; set shared=True'):
        make(dict(type=AnyNumber), student, student, varying=True, student_connector=conv)
    term, extras = make(dict(type=AnyNumber), student, student, varying=True,
                        student_connector=dict(conv, shared=True))
    assert value(term, student[:1], student, extras)['loss_t'] > 0


class AnyNumber(nn.Module):
    pyramid = True

    def forward(self, student, teacher):
        return sum(x.square().mean() for x in student)


@pytest.mark.parametrize('cfg, part', [
    (dict(levels='some'), "levels must be 'all', 'common' or a list of strides"),
    (dict(levels=[8, 0]), 'levels must be'),
    (dict(levels='common', varying=True), "levels='common' cannot be with varying=True"),
    (dict(levels=[8], varying=True), 'levels=[8] cannot be with varying=True'),
    (dict(varying=1), 'varying must be True or False'),
    (dict(tap=dict(a=3)), 'student tap must have a string or a list of strings for each name')])
def test_what_makes_no_sense(cfg, part):
    spec = TermSpec('t', dict(dict(tap='neck', loss=dict(type=Whole)), **cfg), ['teacher'])
    assert part in spec.mistakes.errors[0][0]
