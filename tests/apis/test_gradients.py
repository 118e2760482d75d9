"""The gradient of each term at the student, against hand calculation and separate backwards."""
import copy
import math

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import nn

from mmkd.apis.gradients import TASK, measure
from mmkd.models.schedules import build_schedule, now
from tests.detectors import det_batch, det_distiller, small_detector
from tests.helpers import build, make_batch, terms_of, tiny_distiller, tiny_segmentor


class LinearTerm(nn.Module):
    """weight * schedule * <direction, w>: its gradient at w is known."""

    def __init__(self, weight, *directions, schedule=None):
        super().__init__()
        self.spec = type('Spec', (), dict(weight=weight, schedule=build_schedule(schedule)))()
        self.directions = directions
        self.connector = nn.Parameter(torch.tensor(5.))

    def forward(self, w, time, name):
        factor = self.spec.weight * self.spec.schedule(time)
        values = [factor * (w * torch.tensor(d)).sum() + 0 * self.connector
                  for d in self.directions]
        if len(values) == 1:
            return {f'loss_{name}': values[0]}
        return {f'loss_{name}_{i}': value for i, value in enumerate(values)}


class Linear(BaseModel):
    """A student of two parts whose own loss is <a, w> in each."""

    def __init__(self, a, terms):
        super().__init__()
        self.backbone = nn.ParameterDict(dict(w=torch.ones(2)))
        self.head = nn.ParameterDict(dict(w=torch.ones(2)))
        self.frozen = nn.ParameterDict(dict(w=torch.ones(2)))
        self.frozen.requires_grad_(False)
        self.a, self.distiller = a, nn.ModuleDict(terms)

    def forward(self, inputs, data_samples=None, mode='loss'):
        w = torch.cat([self.backbone['w'], self.head['w'], self.frozen['w']])
        losses = {}
        if self.a is not None:
            losses = dict(acc=torch.tensor(50.), loss_own=(w * torch.tensor(self.a)).sum())
        for name, term in self.distiller.items():
            losses.update(term(w, now(), name))
        return losses


A, B, C = [3., 0, 0, 4, 0, 0], [0., 0, 6, 0, 9, 9], [0., 2, 0, 0, 9, 9]
BATCHES = [dict(inputs=[torch.zeros(1)])] * 2


@pytest.fixture(autouse=True)
def _hub():
    hub = MessageHub.get_current_instance()
    before = {key: hub.get_info(key) for key in ('iter', 'max_iters')}
    hub.update_info('iter', 0)
    yield hub
    for key, value in before.items():
        hub.update_info(key, value)


def mean(figure):
    return figure['mean']


def test_figures_are_those_of_a_calculation_by_hand():
    model = Linear(A, dict(b=LinearTerm(.5, B), same=LinearTerm(2., A)))
    found = measure(model, BATCHES, ratio=.25)
    rows = found['rows']
    assert (found['batches'], found['reference'], list(rows)) == (2, TASK, [TASK, 'b', 'same'])
    assert mean(rows[TASK]['loss']) == 7 and mean(rows[TASK]['gradient']) == 5
    b, same = rows['b'], rows['same']
    assert mean(b['loss']) == 24 and mean(b['weighted']) == 12  # the frozen part's 9s are in
    assert mean(b['gradient']) == 3 and mean(b['ratio']) == .6  # ... the loss and not in these
    assert mean(b['cosine']) == 0 and b['suggested'] == pytest.approx(.5 * .25 / .6)
    assert mean(b['groups']['backbone']) == 0 and mean(b['groups']['head']) == .75
    assert 'frozen' not in b['groups']
    assert mean(same['ratio']) == 2 and mean(same['cosine']) == pytest.approx(1)
    assert b['ratio']['std'] == 0 and rows[TASK]['suggested'] is None


def test_a_term_of_several_losses_is_measured_as_one_and_in_parts():
    rows = measure(Linear(A, dict(m=LinearTerm(1., B, C))), BATCHES)['rows']
    assert list(rows) == [TASK, 'm', 'm.0', 'm.1']
    assert mean(rows['m']['gradient']) == pytest.approx(math.hypot(6, 2))
    assert (mean(rows['m.0']['gradient']), mean(rows['m.1']['gradient'])) == (6, 2)
    assert rows['m']['suggested'] and rows['m.0']['suggested'] is None


def test_a_schedule_counts_at_its_present_factor(_hub):
    _hub.update_info('iter', 5)
    term = LinearTerm(2., B, schedule=dict(type='linear', begin=0, end=10))
    row = measure(Linear(A, dict(b=term)), BATCHES)['rows']['b']
    assert row['schedule'] == .5 and mean(row['loss']) == 24 and mean(row['weighted']) == 24
    assert mean(row['ratio']) == 6 / 5 and row['suggested'] == pytest.approx(2 / 1.2)


def test_a_term_that_is_off_has_no_figures_and_no_suggestion(_hub):
    _hub.update_info('iter', 10)
    off = LinearTerm(2., B, schedule=dict(type='stop', end=10))
    row = measure(Linear(A, dict(b=off, c=LinearTerm(1., C))), BATCHES)['rows']['b']
    assert row['schedule'] == 0 and row['weight'] == 2
    assert all(row[key] is None for key in ('ratio', 'cosine', 'gradient', 'suggested', 'loss'))
    with pytest.raises(ValueError, match='nothing to weigh.*every term off'):
        measure(Linear(None, dict(b=off)), BATCHES)


def test_without_a_loss_of_the_student_terms_are_compared_with_the_first_that_is_on(_hub):
    off = LinearTerm(2., B, schedule=dict(type='step', milestones=[0], gamma=0.))
    found = measure(Linear(None, dict(z=off, b=LinearTerm(1., B), c=LinearTerm(1., C))), BATCHES)
    rows = found['rows']
    assert found['reference'] == 'b' and TASK not in rows
    assert mean(rows['b']['ratio']) == 1 and rows['b']['suggested'] is None
    assert mean(rows['c']['ratio']) == pytest.approx(1 / 3)
    assert rows['c']['suggested'] == pytest.approx(3)


def test_no_gradient_at_the_student_is_no_division_by_zero():
    nothing = [0.] * 4 + [1., 1.]
    rows = measure(Linear(A, dict(b=LinearTerm(1., nothing))), BATCHES)['rows']
    assert mean(rows['b']['ratio']) == 0
    assert rows['b']['cosine'] is None and rows['b']['suggested'] is None
    rows = measure(Linear(nothing, dict(b=LinearTerm(1., B))), BATCHES)['rows']
    assert rows['b']['ratio'] is None and rows['b']['suggested'] is None
    assert mean(rows['b']['gradient']) == 6


@pytest.mark.parametrize(('bad', 'text'), [
    (float('nan'), "term 'b': the loss is not finite in batch 1"),
    (float('inf'), "term 'b': the loss is not finite in batch 1")])
def test_what_is_not_finite_is_refused(bad, text):
    with pytest.raises(ValueError, match=text):
        measure(Linear(A, dict(b=LinearTerm(1., [bad] + B[1:]))), BATCHES)


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match='no batch'):
        measure(Linear(A, dict(b=LinearTerm(1., B))), [])


def distiller(terms='cirkd'):
    return build(tiny_distiller(terms, student=tiny_segmentor(aux=True)))


def test_ratio_and_cosine_are_those_of_separate_backward_passes():
    batch, found = make_batch(), {}

    def gradient(pick):
        """The flat gradient at the student of the losses that ``pick`` names."""
        model = distiller().train()
        torch.manual_seed(3)
        losses = model(**model.data_preprocessor(copy.deepcopy(batch), True), mode='loss')
        sum(value for key, value in losses.items() if 'loss' in key and pick(key)).backward()
        return torch.cat([p.grad.flatten() if p.grad is not None else torch.zeros(p.numel())
                          for name, p in model.named_parameters()
                          if not name.startswith('distiller.')])

    model = distiller()
    torch.manual_seed(3)
    found = measure(model, [batch])['rows']
    assert set(found) == {TASK, 'logits', 'minibatch', 'memory', 'memory.pixel', 'memory.region'}
    task = gradient(lambda key: not key.startswith('loss_'))
    assert mean(found[TASK]['gradient']) == pytest.approx(float(task.norm()), rel=1e-5)
    for name in ('logits', 'minibatch', 'memory'):
        own = gradient(lambda key, name=name: key.startswith(f'loss_{name}'))
        ratio = float(own.norm() / task.norm())
        assert mean(found[name]['ratio']) == pytest.approx(ratio, rel=1e-4)
        cosine = torch.nn.functional.cosine_similarity(own, task, 0)
        assert mean(found[name]['cosine']) == pytest.approx(float(cosine), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize('ratio', [1., .2])
def test_the_suggested_weight_brings_the_ratio(ratio):
    batches = [make_batch(seed=i) for i in range(3)]

    def rows(terms):
        model = distiller(terms)
        torch.manual_seed(3)
        return measure(model, batches, ratio)['rows']

    terms = terms_of('fitnet')
    before = rows(terms)
    for name, term in terms.items():
        assert mean(before[name]['ratio']) != pytest.approx(ratio, rel=1e-2)
        term['weight'] = before[name]['suggested']
    after = rows(terms)
    for name in terms:
        assert mean(after[name]['ratio']) == pytest.approx(ratio, rel=1e-5)
        assert after[name]['suggested'] == pytest.approx(terms[name]['weight'], rel=1e-5)


def test_the_model_and_the_batches_are_left_as_they_were():
    model, batch = distiller(), make_batch()
    state, kept = copy.deepcopy(model.state_dict()), copy.deepcopy(batch)
    model.eval()
    measure(model, [batch])
    assert not model.training and not model.backbone.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(*pair) for pair in zip(batch['inputs'], kept['inputs'], strict=True))
    for sample, before in zip(batch['data_samples'], kept['data_samples'], strict=True):
        assert torch.equal(sample.gt_sem_seg.data, before.gt_sem_seg.data)
        assert sample.metainfo == before.metainfo


def test_levels_of_a_pyramid_are_weighed_one_by_one():
    """MGD sums over the map: the finest level has the most to say."""
    DefaultScope.get_instance('gradients', scope_name='mmdet')
    terms = dict(feature=dict(tap='neck', loss=dict(type='mmkd.MGDLoss'), weight=3.))
    model = build(det_distiller(terms))
    rows = measure(model, [det_batch(seed=0), det_batch(seed=1)])['rows']
    levels = [f'feature.stride {2 ** i}' for i in range(3, 8)]
    assert [name for name in rows if name.startswith('feature.')] == levels
    assert sum(rows[name]['weighted']['mean'] for name in levels) == pytest.approx(
        rows['feature']['weighted']['mean'], rel=1e-5)
    assert rows[levels[0]]['weighted']['mean'] > 3 * rows[levels[1]]['weighted']['mean']
    assert rows['feature']['suggested'] and all(rows[name]['suggested'] is None for name in levels)
    assert model.distiller['feature'].level_values is None


def test_activation_checkpointing_changes_no_figure():
    DefaultScope.get_instance('detectors', scope_name='mmdet')
    found = []
    for with_cp in (False, True):
        student = small_detector('retinanet')
        student.backbone.update(with_cp=with_cp)
        terms = dict(feature=dict(tap='neck', loss=dict(type='mmkd.PKDLoss')))
        model = build(det_distiller(terms, student))
        found.append(measure(model, [det_batch(seed=i) for i in range(2)])['rows'])
    plain, saved = ({name: (row['gradient']['mean'], row['loss'] and row['loss']['mean'])
                     for name, row in rows.items()} for rows in found)
    assert plain.keys() == saved.keys() >= {TASK, 'feature', 'feature.stride 8'}
    for name in plain:
        assert saved[name] == pytest.approx(plain[name], rel=1e-4)
