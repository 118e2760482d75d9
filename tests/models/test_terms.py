"""Terms: weight, schedule, connectors, what losses ask for."""
import copy

import pytest
import torch
from torch import nn

from mmkd.models.extras import Extras
from mmkd.models.schedules import Time
from mmkd.models.taps import parse_tap
from mmkd.models.terms import Term, TermSpec
from mmkd.registry import MODELS


class Facts(nn.Module):
    """Remembers what it was built with and asked for."""

    def __init__(self, student_channels=None, teacher_channels=None, num_classes=None,
                 ignore_index=None, factor=1.):
        super().__init__()
        self.built = dict(student_channels=student_channels, teacher_channels=teacher_channels,
                          num_classes=num_classes, ignore_index=ignore_index)
        self.scale = nn.Parameter(torch.tensor(factor))
        self.asked = None

    def forward(self, student, teacher, labels, progress, metas=None, unknown=3):
        self.asked = dict(labels=labels, progress=progress, metas=metas, unknown=unknown)
        return self.scale * student.mean()


class Two(nn.Module):
    def forward(self, student, teacher):
        return dict(a=student.mean(), b=student.mean() * 2)


class Wants(nn.Module):
    def forward(self, student, teacher, lables):
        return student.mean()


class Open(nn.Module):
    def forward(self, student, teacher, *args, **kwargs):
        assert not args and not kwargs
        return student.mean()


def make(loss, shapes=((2, 3, 4, 4), (2, 5, 2, 2)), **cfg):
    torch.manual_seed(0)
    spec = TermSpec('t', dict(tap='logits', loss=loss, **cfg), ['teacher'])
    taps = dict(student=parse_tap('s'), teacher=parse_tap('t'))
    examples = dict(student=torch.randn(shapes[0]), teacher=torch.randn(shapes[1]))
    makers = dict(labels=lambda batch: ('labels', batch.inputs, batch.data_samples),
                  metas=lambda batch: 'metas')
    term = Term(spec, taps, examples, dict(student=8, teacher=8),
                dict(num_classes=7, ignore_index=255), makers)
    return term, examples, Extras(makers, 'inputs', 'samples')


def values(term, examples, extras, iteration=0, total=100):
    student = examples['student'].requires_grad_()
    return student, term(student, examples['teacher'], Time(iteration, total), extras)


def test_weight_and_schedule_multiply():
    term, examples, extras = make(dict(type=Open), weight=3., schedule=dict(type='linear', end=10))
    mean = examples['student'].mean()
    for iteration, factor in ((0, 0.), (5, 1.5), (10, 3.)):
        _, out = values(term, examples, extras, iteration)
        torch.testing.assert_close(out['loss_t'], factor * mean)


def test_a_dict_of_losses_is_named_after_the_term():
    term, examples, extras = make(dict(type=Two), weight=2)
    _, out = values(term, examples, extras)
    mean = examples['student'].mean()
    assert set(out) == {'loss_t_a', 'loss_t_b'}
    torch.testing.assert_close(out['loss_t_b'], 4 * mean)


def test_losses_get_what_they_ask_for():
    term, examples, extras = make(dict(type=Facts))
    assert term.loss.built == dict(student_channels=3, teacher_channels=5, num_classes=7,
                                   ignore_index=255)
    values(term, examples, extras, iteration=25)
    assert term.loss.asked == dict(labels=('labels', 'inputs', 'samples'), progress=0.25,
                                   metas='metas', unknown=3)
    assert term.wants == ['labels', 'progress', 'metas']


def test_facts_are_those_after_the_connectors_and_the_config_wins():
    term, *_ = make(dict(type=Facts, num_classes=4),
                    student_connector=dict(type='mmkd.ConvConnector'))
    assert term.student_connector.conv.weight.shape == (5, 3, 1, 1)
    assert term.loss.built['student_channels'] == 5 and term.loss.built['num_classes'] == 4
    term, *_ = make(dict(type=Facts), student_connector=dict(
        type='mmkd.ConvConnector', out_channels=6), teacher_connector=dict(
            type='mmkd.ConvConnector', out_channels=6))
    assert term.teacher_connector.conv.weight.shape == (6, 5, 1, 1)
    assert term.loss.built['teacher_channels'] == 6


def test_connector_sees_training_mode_and_building_leaves_no_trace():
    term, examples, extras = make(dict(type='mmkd.FitNetLoss'), student_connector=dict(
        type='mmkd.ConvConnector', norm=True))
    norm = term.student_connector.norm
    term.try_out(examples, extras)
    assert norm.num_batches_tracked == 0 and term.training
    assert all(p.grad is None for p in term.parameters())
    values(term, examples, extras)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize('schedule', [dict(type='stop', end=0), dict(type='linear', begin=50)])
def test_a_term_that_is_off_is_zero_with_a_graph_to_everything(schedule):
    term, examples, extras = make(dict(type=Facts), schedule=schedule,
                                  student_connector=dict(type='mmkd.ConvConnector'))
    student, out = values(term, examples, extras)
    assert out['loss_t'].item() == 0 and term.loss.asked is None, 'it is not computed'
    out['loss_t'].backward()
    for tensor in (student, *term.parameters()):
        assert tensor.grad is not None and not tensor.grad.any()


def test_off_does_not_overflow_in_half_precision():
    term, examples, extras = make(dict(type=Two), schedule=dict(type='stop', end=0))
    examples['student'] = torch.full((2, 3, 64, 64), 100., dtype=torch.float16)
    assert torch.isinf(examples['student'].sum()), 'the sum itself does'
    assert values(term, examples, extras)[1]['loss_t'].item() == 0


def test_off_is_zero_even_if_the_student_is_infinite():
    term, examples, extras = make(dict(type=Two), schedule=dict(type='stop', end=0))
    examples['student'][0, 0, 0, 0] = float('inf')
    student, losses = values(term, examples, extras)
    losses['loss_t'].backward()
    assert losses['loss_t'] == 0 and not student.grad.any()


def test_extras_are_made_once():
    made = []
    extras = Extras(dict(labels=lambda batch: made.append(batch.inputs) or 'x'), 1, 2)
    assert extras('labels', 'a') == extras('labels', 'b') == 'x' and made == [1]


def test_a_term_can_be_copied():
    term, examples, extras = make(dict(type='mmkd.FitNetLoss'), schedule=dict(type='cosine'),
                                  student_connector=dict(type='mmkd.ConvConnector'))
    twin = copy.deepcopy(term)
    torch.testing.assert_close(values(twin, examples, extras, 5)[1],
                               values(term, examples, extras, 5)[1])
    assert twin.student_connector is not term.student_connector


def test_defaults_and_teachers():
    cfg = dict(tap='logits', loss=dict(type='mmkd.KDLoss'))
    spec = TermSpec('t', cfg, ['only'])
    assert (spec.weight, spec.teacher, spec.taps) == (
        1., 'only', dict(student='logits', teacher='logits'))
    spec = TermSpec('t', dict(cfg, teacher='b', student_tap='head'), ['a', 'b'])
    assert spec.teacher == 'b' and spec.taps == dict(student='head', teacher='logits')


@pytest.mark.parametrize('loss, message', [
    (dict(type=Wants), "Wants asks for 'lables', which is not there.*labels, metas, progress"
                       "; did you mean 'labels'"),
    (dict(type=Facts, factr=1), "Facts has no argument 'factr'.*did you mean 'factor'"),
    (dict(type='mmkd.KDLos'), "'mmkd.KDLos' is not registered; did you mean 'mmkd.KDLoss'"),
    (dict(type='NoSuchLossAnywhere'), 'is not registered'),
    (dict(type='mmkd.KDLoss'), 'KDLoss needs equal channels.*gives 3 and the teacher 5.*classes'),
])
def test_errors(loss, message):
    with pytest.raises(ValueError, match=message):
        make(loss)


def test_try_out_tells_what_failed_on_what():
    class Bad(nn.Module):
        def forward(self, student, teacher):
            raise KeyError('boom')
    term, examples, extras = make(dict(type=Bad))
    with pytest.raises(ValueError, match=r'Bad fails on tensors of shape \(2, 3, 4, 4\).*boom'):
        term.try_out(examples, extras)


def test_registered_losses_are_reachable_from_any_scope():
    from mmengine.registry import MODELS as ROOT
    assert ROOT.get('mmkd.KDLoss') is MODELS.get('KDLoss')
