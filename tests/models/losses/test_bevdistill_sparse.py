"""BEVDistill's boxes of queries: who is matched with whom, what is known of the teacher, and what
awkward batches give."""
import math

import pytest
import torch

from mmkd.models.losses.bev import BEVDistillSparseLoss
from mmkd.registry import MODELS


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def queries(batch=2, count=6, stages=2, classes=3, codes=10, seed=0):
    return dict(cls=[draw(batch, count, classes, seed=seed + i) for i in range(stages)],
                boxes=[draw(batch, count, codes, seed=seed + 9 + i) for i in range(stages)])


def run(student, teacher, dtype=None, **settings):
    """(losses, gradient of the last stage's boxes)."""
    student = {key: [x.detach().clone().requires_grad_() for x in value]
               for key, value in student.items()}
    losses = BEVDistillSparseLoss(**settings)(student, teacher)
    sum(losses.values()).backward()
    return losses, student['boxes'][-1].grad


def test_it_is_registered():
    assert isinstance(MODELS.build(dict(type='mmkd.BEVDistillSparseLoss')), BEVDistillSparseLoss)


def test_the_same_queries_in_another_order_are_no_difference():
    student = queries(stages=1)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    teacher = {key: [x[:, order] for x in value] for key, value in student.items()}
    losses, gradient = run(student, teacher, box_cost=10.)
    assert losses['box'] == 0 and not gradient.any()


def test_a_query_counts_by_the_square_of_its_score():
    student, teacher = queries(1, 2, 1), queries(1, 2, 1, seed=50)
    teacher['boxes'][0][:] = student['boxes'][0]
    teacher['boxes'][0][0, :, 0] += torch.tensor([1., 3.])
    teacher['boxes'][0][0, 1, 9] += 1.  # velocity, of weight .2
    q = teacher['cls'][0][0].sigmoid().amax(1)
    losses, _ = run(student, teacher, cls_cost=0.)
    expected = .25 * (q[0] ** 2 * 1 + q[1] ** 2 * 3.2) / q.sum()
    torch.testing.assert_close(losses['box'], expected)
    plain, _ = run(student, teacher, cls_cost=0., score_reweight=False)
    torch.testing.assert_close(plain['box'], torch.tensor(.25 * 4.2 / 2))


def test_the_best_of_the_last_stage_are_known():
    student, teacher = queries(1), queries(1, 4, seed=50)
    best = teacher['cls'][-1].amax(2)[0].topk(2).indices.sort().values
    alone = {key: [x[:, best] for x in value[-1:]] for key, value in teacher.items()}
    limited, _ = run(student, teacher, max_num=2)
    torch.testing.assert_close(limited, run(student, alone)[0])
    assert not torch.allclose(limited['box'], run(student, teacher)[0]['box'])


def test_stages_are_added_up_and_samples_pooled():
    student, teacher = queries(), queries(stages=1, seed=50)
    both, _ = run(student, teacher)
    parts = [run({key: value[i:i + 1] for key, value in student.items()}, teacher)[0]['box']
             for i in range(2)]
    torch.testing.assert_close(both['box'], sum(parts))
    twice = [{key: [x[:1].repeat(2, 1, 1) for x in value] for key, value in side.items()}
             for side in (student, teacher)]
    once = [{key: [x[:1] for x in value] for key, value in side.items()}
            for side in (student, teacher)]
    torch.testing.assert_close(run(*twice)[0], run(*once)[0])


def test_stages_may_be_stacked():
    student, teacher = queries(), queries(seed=50)
    stacked = [{key: torch.stack(value) for key, value in side.items()}
               for side in (student, teacher)]
    loss = BEVDistillSparseLoss()
    torch.testing.assert_close(loss(*stacked), loss(student, teacher))


@pytest.mark.parametrize('cls_weight', [0., 1.])
@pytest.mark.parametrize('unmatched', [None, 3.])
@pytest.mark.parametrize('count, batch', [(0, 2), (6, 0)])
def test_nothing_known_is_zero_and_finite(cls_weight, unmatched, count, batch):
    student, teacher = queries(batch), queries(batch, count, seed=50)
    losses, gradient = run(student, teacher, cls_weight=cls_weight, unmatched_label=unmatched)
    assert losses['box'] == 0 and not gradient.any()
    assert all(torch.isfinite(x) for x in losses.values())
    assert losses.get('cls', 0) == 0 or unmatched


def test_a_sample_without_queries_of_the_teacher_changes_nothing():
    student, teacher = queries(2), queries(2, seed=50)
    teacher['boxes'][-1][1] = -math.inf  # boxes of no size
    losses, gradient = run(student, teacher)
    alone = [{key: [x[:1] for x in value] for key, value in side.items()}
             for side in (student, teacher)]
    torch.testing.assert_close(losses, run(*alone)[0])
    assert torch.isfinite(gradient).all() and not gradient[1].any()


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_query_of_the_teacher_that_is_not_finite_is_unknown(value):
    student, teacher = queries(1), queries(1, 3, seed=50)
    kept = {key: [x[:, 1:] for x in side] for key, side in teacher.items()}
    teacher['boxes'][-1][0, 0, 4] = value
    torch.testing.assert_close(run(student, teacher)[0], run(student, kept)[0])


def test_more_queries_of_the_teacher_than_of_the_student():
    losses, gradient = run(queries(count=2), queries(count=7, seed=50))
    assert losses['box'] > 0 and (gradient.abs().sum(2) > 0).all()


def test_equal_queries_and_equal_scores():
    """Ties: each is matched once, whichever."""
    student = {key: [torch.zeros_like(x) for x in value] for key, value in queries(1, 4).items()}
    teacher = {key: [torch.ones_like(x) for x in value] for key, value in queries(1, 4).items()}
    losses, gradient = run(student, teacher)
    q = torch.ones(()).sigmoid()
    torch.testing.assert_close(losses['box'], 2 * .25 * 8.4 * q)
    assert torch.equal(gradient[0, 0], gradient[0, 3])


def test_labels_of_queries_without_a_match():
    student, teacher = queries(1, 3, 1), queries(1, 1, 1, seed=50)
    logits, target = student['cls'][0][0].double(), teacher['cls'][0][0, 0].double().sigmoid()
    matched = BEVDistillSparseLoss().stage(
        student['cls'][0], student['boxes'][0],
        [(target[None].float(), teacher['boxes'][0][0])])[1][0]
    entropy = [sum(-(t * math.log(1 / (1 + math.exp(-x))) + (1 - t) * math.log(
        1 / (1 + math.exp(x)))) for x, t in zip(row.tolist(), (
            target.tolist() if k >= 0 else [3.] * 3), strict=True))
        for row, k in zip(logits, matched.tolist(), strict=True)]
    for label, expected in ((3., sum(entropy)), (None, entropy[matched.tolist().index(0)])):
        losses, _ = run(student, teacher, cls_weight=.5, unmatched_label=label)
        assert losses['cls'].item() == pytest.approx(.5 * expected, rel=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher = queries(), queries(seed=50)
    student, teacher = ({key: [x.to(dtype) for x in value] for key, value in side.items()}
                        for side in (student, teacher))
    wide = [{key: [x.float() for x in value] for key, value in side.items()}
            for side in (student, teacher)]
    losses, gradient = run(student, teacher, cls_weight=1.)
    expected, slope = run(*wide, cls_weight=1.)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(gradient, slope.to(dtype))
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(run(*wide, cls_weight=1.)[0], expected)


def test_the_teacher_has_no_gradient():
    student, teacher = queries(), queries(seed=50)
    teacher = {key: [x.requires_grad_() for x in value] for key, value in teacher.items()}
    student['boxes'][-1].requires_grad_()
    sum(BEVDistillSparseLoss(cls_weight=1.)(student, teacher).values()).backward()
    assert all(x.grad is None for value in teacher.values() for x in value)


@pytest.mark.parametrize('student, teacher, message', [
    (queries(), dict(cls=[draw(2, 3, 3)]), 'teacher has no boxes'),
    (queries(), queries(classes=4), 'must be the same'),
    (queries(), queries(codes=8), 'must be the same'),
    (queries(3), queries(), 'must be the same'),
    (queries(codes=7), queries(codes=7), 'from 8 to 10 codes'),
    (dict(cls=[draw(2, 3)], boxes=[draw(2, 10)]), queries(), 'for each stage'),
    (dict(cls=[draw(2, 3, 4)], boxes=[]), queries(), 'for each stage')])
def test_what_does_not_fit_is_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        BEVDistillSparseLoss()(student, teacher)


def test_nothing_known_of_the_teacher_is_refused():
    with pytest.raises(ValueError, match='max_num=0'):
        BEVDistillSparseLoss(max_num=0)
