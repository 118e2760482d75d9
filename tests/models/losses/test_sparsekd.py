"""SparseKD: pivotal positions, boxes, and heads that have other cells."""
import itertools
import math
from typing import NamedTuple

import pytest
import torch

from mmkd.apis import join_recipes
from mmkd.models.losses.bev import SparseKDLoss
from tests.detectors3d import bev_batch, bev_distiller, centerpoint
from tests.helpers import build

B, Y, X, M = 2, 3, 4, 5


class Targets(NamedTuple):
    indices: list
    masks: list


class Head:
    """What a CenterHead says of itself."""

    def __init__(self, maps=(), boxes=3, grid=(X, Y), area=(0., 0., 4., 3.)):
        self.range, self.grid_size, self.tasks = area, grid, (('a', 'b'), ('c',))
        self._maps, self._boxes = maps, boxes

    def heatmaps(self):
        return self._maps

    def targets(self):
        masks = torch.zeros(B, M, dtype=torch.uint8)
        masks[0, :self._boxes] = 1
        indices = torch.arange(B * M).view(B, M) % (X * Y)
        return Targets([indices] * 2, [masks] * 2)


def scene(boxes=3, dtype=torch.float32):
    torch.manual_seed(0)
    sides = [dict(heatmap=[torch.randn(B, k, Y, X, dtype=torch.float64) for k in (2, 1)],
                  reg=[torch.randn(B, 3, Y, X, dtype=torch.float64) for _ in range(2)])
             for _ in range(2)]
    drawn = [torch.rand(B, k, Y, X, dtype=torch.float64) * bool(boxes) for k in (2, 1)]
    if boxes:
        for x in drawn:  # no box in the second sample
            x[1] = 0
    sides = [{name: [x.to(dtype) for x in maps] for name, maps in side.items()} for side in sides]
    for x in (*sides[0]['heatmap'], *sides[0]['reg']):
        x.requires_grad_()
    return (*sides, [x.to(dtype) for x in drawn])


def probability(x):
    return min(max(1 / (1 + math.exp(-float(x))), 1e-4), 1 - 1e-4)


def by_loops(student, teacher, drawn, boxes=3, hm_weight=10., reg_weight=.2):
    heat = reg = 0.
    for s, t, g in zip(student['heatmap'], teacher['heatmap'], drawn, strict=True):
        above = below = 0.
        for b, y, x in itertools.product(range(B), range(Y), range(X)):
            pivotal = max(probability(v) for v in t[b, :, y, x]) * max(map(float, g[b, :, y, x]))
            below += pivotal
            above += pivotal * sum((probability(s[b, k, y, x]) - probability(t[b, k, y, x])) ** 2
                                   for k in range(s.shape[1]))
        heat += hm_weight * above / (below + 1e-6) / 2
    for s, t in zip(student['reg'], teacher['reg'], strict=True):
        reg += reg_weight / 2 / max(boxes, 1) * sum(
            abs(float(s[0, c, i // X, i % X] - t[0, c, i // X, i % X]))
            for i in range(boxes) for c in range(3))
    return heat, reg


@pytest.mark.parametrize('boxes', [3, 1, 0])
def test_value(boxes):
    student, teacher, drawn = scene(boxes, torch.float64)
    found = SparseKDLoss()(student, teacher, drawn, Head(boxes=boxes), Head())
    heat, reg = by_loops(student, teacher, drawn, boxes)
    assert found['heatmap'].item() == pytest.approx(heat, rel=1e-9)
    assert found['reg'].item() == pytest.approx(reg, rel=1e-9)
    assert (heat > 0) == (reg > 0) == bool(boxes)
    grads = torch.autograd.grad(sum(found.values()), [*student['heatmap'], *student['reg']])
    assert all(torch.isfinite(g).all() and bool(g.any()) == bool(boxes) for g in grads)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher, drawn = scene(dtype=dtype)
    found = SparseKDLoss()(student, teacher, drawn, Head(), Head())
    wide = [{name: [x.detach().double() for x in maps] for name, maps in side.items()}
            for side in (student, teacher)]
    expected = SparseKDLoss()(*wide, [x.double() for x in drawn], Head(), Head())
    for name, value in found.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-5)


@pytest.mark.parametrize('size', [1e4, float('inf')])
def test_logits_without_limit_are_finite(size):
    student, teacher, drawn = scene()
    for x in (*student['heatmap'], *teacher['heatmap']):
        x.data = torch.where(x > 0, size, -size)
    value = sum(SparseKDLoss()(student, teacher, drawn, Head(), Head()).values())
    grads = torch.autograd.grad(value, student['heatmap'])
    assert torch.isfinite(value) and all(torch.isfinite(g).all() for g in grads)


def test_other_cells():
    """The teacher's head draws on its own grid; the regression is refused."""
    student, teacher, drawn = scene()
    small = [torch.nn.functional.interpolate(x.detach(), (2, 3)) for x in student['heatmap']]
    head, nothing = Head(grid=(3, 2)), [torch.zeros(B, k, 2, 3) for k in (2, 1)]
    loss = SparseKDLoss(reg_weight=0)
    found = loss(dict(heatmap=small), teacher, nothing, head, Head(drawn))
    wide = [torch.nn.functional.interpolate(x.sigmoid().clamp(1e-4, 1 - 1e-4), (Y, X),
                                            mode='bilinear') for x in small]
    expected, _ = by_loops(dict(heatmap=[x.logit() for x in wide], reg=[]),
                           dict(teacher, reg=[]), drawn)
    assert found.keys() == {'heatmap'}
    assert found['heatmap'].item() == pytest.approx(expected, rel=1e-4)
    moved = Head(area=(1., 0., 5., 3.))  # another place: what the student draws is all there is
    assert loss(student, teacher, drawn, moved, Head(nothing))['heatmap'] > 0
    for other in (head, moved):
        with pytest.raises(ValueError, match='other cells .* set reg_weight=0'):
            SparseKDLoss()(student, teacher, drawn, other, Head(drawn))


def test_what_is_missing_is_told():
    student, teacher, drawn = scene()
    with pytest.raises(ValueError, match='the student has no reg'):
        SparseKDLoss()(dict(heatmap=student['heatmap']), teacher, drawn, Head(), Head())
    with pytest.raises(ValueError, match='drawn boxes of 1'):
        SparseKDLoss()(student, teacher, drawn[:1], Head(), Head())
    teacher['heatmap'].reverse()
    with pytest.raises(ValueError, match='student has 2 channels, teacher 1'):
        SparseKDLoss()(student, teacher, drawn, Head(), Head())


@pytest.mark.parametrize('boxes', [2, 0])
@pytest.mark.parametrize('recipe, size, keep', [('sparsekd', 1., 'first'),
                                                ('sparsekd_pillar', 2., 'bn_scale')])
def test_a_step_of_the_recipes(recipe, size, keep, boxes):
    model = build(bev_distiller(join_recipes(f'det3d/{recipe}'), centerpoint(8, size=size),
                                init_student=dict(keep=keep)))
    losses = model(**model.data_preprocessor(bev_batch(boxes=boxes), True), mode='loss')
    mine = {key: value for key, value in losses.items() if key.startswith('loss_logits')}
    assert len(mine) == (2 if recipe == 'sparsekd' else 1)
    assert all((value > 0) == bool(boxes) for value in mine.values())
    sum(mine.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
