"""itKD: the shared auto-encoder and the attention among predictions, by loops over objects."""
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

from mmkd.apis import join_recipes
from mmkd.models.losses.bev import ITKDLoss
from tests.detectors3d import RANGE, bev_batch, bev_distiller, centerpoint
from tests.helpers import build

B, Y, X, M = 2, 3, 4, 5
CLASSES, BOXES = (2, 1), 8


class Targets(NamedTuple):
    indices: list
    masks: list


class Head:
    """What a CenterHead says of itself; sample 0 has objects, sample 1 has none."""

    def __init__(self, objects=3, grid=(X, Y), area=RANGE):
        self.objects, self.grid_size, self.range = objects, grid, area

    def targets(self):
        masks = torch.zeros(B, M, dtype=torch.uint8)
        masks[0, :self.objects] = 1
        return Targets([torch.arange(B * M).view(B, M) % (X * Y)] * 2, [masks] * 2)


def scene(dtype=torch.float64):
    torch.manual_seed(0)
    sides = [dict(bev=torch.randn(B, width, Y, X),
                  heatmap=[torch.randn(B, k, Y, X) for k in CLASSES],
                  reg=[torch.randn(B, BOXES, Y, X) for _ in CLASSES]) for width in (3, 4)]
    sides = [{name: [x.to(dtype) for x in value] if isinstance(value, list) else value.to(dtype)
              for name, value in side.items()} for side in sides]
    for x in (sides[0]['bev'], *sides[0]['heatmap'], *sides[0]['reg']):
        x.requires_grad_()
    return sides


def loss_of(**arguments):
    heads = dict(heatmap=list(CLASSES), reg=[BOXES] * 2)
    return ITKDLoss(dict(heads, bev=3), dict(heads, bev=4), code_channels=5, **arguments)


def columns(x):
    """Attention among the columns of (M, R), one number at a time."""
    out = torch.zeros_like(x)
    for c in range(x.shape[1]):
        scores = torch.stack([(x[:, r] * x[:, c]).sum() / len(x) ** 0.5
                              for r in range(x.shape[1])])
        for r, share in enumerate(scores.softmax(0)):
            out[:, c] += share * x[:, r]
    return out


def by_loops(loss, student, teacher, objects, sigmoid=('student',)):
    s, t = student['bev'], teacher['bev']
    codes = loss.encoder(loss.up(s)), loss.encoder(t)
    pairs = ((loss.up(loss.decoder(codes[0])), t), (loss.decoder(codes[1]), s))
    codec = (codes[0] - codes[1]).abs().mean()
    for one, other in pairs:
        codec = codec + (one - other).abs().mean() + sum(
            (one[0, :, i // X, i % X] - other[0, :, i // X, i % X]).square().sum()
            for i in range(objects)) / (B * M * one.shape[1])
    head = 0.
    for task, classes in enumerate(CLASSES):
        mixed = []
        for side, value in (('student', student), ('teacher', teacher)):
            heat = value['heatmap'][task]
            heat = heat.sigmoid().clamp(1e-4, 1 - 1e-4) if side in sigmoid else heat
            both = torch.cat([heat, value['reg'][task]], 1)
            rows = torch.zeros(M, both.shape[1], dtype=both.dtype)
            for i in range(objects):
                rows[i] = both[0, :, i // X, i % X]
            parts = [columns(rows), *(columns(p) for p in rows.split((classes, 2, 1, 3, 2), 1))]
            mixed.append(F.linear(torch.cat(parts, 1), loss.mixers[task].weight[..., 0],
                                  loss.mixers[task].bias))
        head = head + (mixed[0] - mixed[1]).abs().sum() / (objects + 1e-4)
    return codec, head


@pytest.mark.parametrize('objects', [3, 1, 0])
@pytest.mark.parametrize('sigmoid, sides', [('student', ('student',)), (False, ()),
                                            (True, ('student', 'teacher'))])
def test_value(objects, sigmoid, sides):
    student, teacher = scene()
    loss = loss_of(sigmoid=sigmoid).double()
    found = loss(student, teacher, Head(objects), Head(objects))
    codec, head = by_loops(loss, student, teacher, objects, sides)
    assert found['codec'].item() == pytest.approx(codec.item(), rel=1e-9)
    assert found['head'].item() == pytest.approx(float(head), rel=1e-9, abs=1e-12)
    assert (found['head'] > 0) == bool(objects)
    sum(found.values()).backward()
    assert student['bev'].grad.any() and bool(student['reg'][0].grad.any()) == bool(objects)
    assert all(torch.isfinite(p.grad).all() for p in loss.parameters())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher = scene(dtype)
    loss = loss_of()
    with torch.autocast('cpu', torch.bfloat16):
        found = loss(student, teacher, Head(), Head())
    wide = [{name: [x.detach().double() for x in value] if isinstance(value, list)
             else value.detach().double() for name, value in side.items()}
            for side in (student, teacher)]
    expected = loss.double()(*wide, Head(), Head())
    for name, value in found.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-4)


def test_maps_of_other_sizes_and_large_values_are_finite():
    student, teacher = scene()
    teacher['bev'] = 1e3 * torch.randn(B, 4, 2 * Y, X).double()
    teacher['reg'] = [1e3 * x for x in teacher['reg']]
    found = loss_of().double()(student, teacher, Head(), Head())
    assert all(torch.isfinite(value) for value in found.values())
    grads = torch.autograd.grad(sum(found.values()), [student['bev'], *student['reg']])
    assert all(torch.isfinite(g).all() for g in grads)


def test_what_does_not_fit_is_told():
    student, teacher = scene()
    for other in (Head(grid=(Y, X)), Head(area=(0., *RANGE[1:]))):
        with pytest.raises(ValueError, match='the heads have other cells'):
            loss_of().double()(student, teacher, Head(), other)
    with pytest.raises(ValueError, match='the teacher has no reg'):
        loss_of()(student, dict(bev=teacher['bev'], heatmap=teacher['heatmap']), Head(), Head())
    with pytest.raises(ValueError, match='parts=.* which has 8 channels'):
        loss_of(parts=(2, 1))
    with pytest.raises(ValueError, match="sigmoid='both'"):
        loss_of(sigmoid='both')
    with pytest.raises(ValueError, match='the student has no bev'):
        ITKDLoss()


@pytest.mark.parametrize('boxes', [2, 0])
def test_a_step_of_the_recipe(boxes):
    model = build(bev_distiller(join_recipes('det3d/itkd'), centerpoint(8)))
    losses = model(**model.data_preprocessor(bev_batch(boxes=boxes), True), mode='loss')
    mine = [losses['loss_itkd_codec'], losses['loss_itkd_head']]
    assert mine[0] > 0 and (mine[1] > 0) == bool(boxes)
    sum(mine).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model.distiller['itkd'].loss.up.weight.grad.any()
