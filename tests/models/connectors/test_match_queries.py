"""Queries of two decoders in one order."""
import itertools

import pytest
import torch

from mmkd.models.connectors import MatchQueriesConnector
from tests.detectors import det_batch, det_distiller
from tests.helpers import build


def queries(n=2, q=5, k=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return dict(cls=torch.randn(n, k, q, 1, generator=generator),
                boxes=torch.rand(n, 4, q, 1, generator=generator),
                states=torch.randn(n, 7, q, 1, generator=generator))


def test_a_permutation_is_undone():
    teacher = queries()
    orders = [torch.randperm(5) for _ in range(2)]
    student = {name: torch.stack([image[:, order] for image, order in zip(value, orders,
                                                                          strict=True)])
               for name, value in teacher.items()}
    found = MatchQueriesConnector()(student, teacher)
    for name, value in teacher.items():
        assert torch.equal(found[name], value)


@pytest.mark.parametrize('sigmoid', [True, False])
def test_the_matching_is_the_cheapest(sigmoid):
    student, teacher = queries(1, 5, seed=1), queries(1, 4, seed=2)
    connector = MatchQueriesConnector(2., 3., sigmoid)
    chosen, = connector.match(student, teacher)

    def cost(s, t):
        p, q = (x['cls'][0, :, i, 0] for x, i in ((student, s), (teacher, t)))
        p, q = (x.sigmoid() if sigmoid else x.softmax(0) for x in (p, q))
        boxes = student['boxes'][0, :, s, 0] - teacher['boxes'][0, :, t, 0]
        return 2. * (p - q).abs().mean() + 3. * boxes.abs().sum()

    def total(order):
        return float(sum(cost(s, t) for t, s in enumerate(order)))

    best = min(itertools.permutations(range(5), 4), key=total)
    assert total(chosen.tolist()) == pytest.approx(total(best), rel=1e-5)


def test_gradient_goes_to_the_chosen_and_more_queries_are_left_out():
    student, teacher = queries(1, 8, seed=1), queries(1, 4)
    student['states'].requires_grad_()
    out = MatchQueriesConnector()(student, teacher)
    assert {name: x.shape[2] for name, x in out.items()} == dict.fromkeys(out, 4)
    out['states'].sum().backward()
    assert student['states'].grad.abs().sum() == 4 * 7


def test_errors():
    with pytest.raises(ValueError, match='the student has 3 queries and the teacher 5'):
        MatchQueriesConnector()(queries(q=3), queries(q=5))
    with pytest.raises(ValueError, match="the teacher has no tap 'boxes'"):
        MatchQueriesConnector()(queries(), dict(cls=1))


class StateLoss(torch.nn.Module):
    def forward(self, student, teacher):
        assert student['states'].shape == teacher['states'].shape
        return (student['states'] - teacher['states']).square().mean()


def test_in_a_term():
    terms = dict(queries=dict(
        tap=dict(cls='query_cls', boxes='query_boxes', states='decoder'),
        student_connector=dict(type='mmkd.MatchQueriesConnector'), loss=dict(type=StateLoss)))
    model = build(det_distiller(terms, 'detr', 'detr')).train()
    losses = model(**model.data_preprocessor(det_batch(size=128), True), mode='loss')
    losses['loss_queries'].backward()
    assert losses['loss_queries'] > 0 and model.student.decoder.layers[0].ffn.layers[1] is not None
    assert any(p.grad is not None and p.grad.any() for p in model.student.decoder.parameters())
