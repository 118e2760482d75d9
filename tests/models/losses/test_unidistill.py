"""UniDistill's losses against loops, at every kind of box, and where they read."""
import contextlib
import itertools
import math

import pytest
import torch

from mmkd.models.losses import full_precision
from mmkd.models.losses.bev import (
    UniDistillFeatureLoss,
    UniDistillRelationLoss,
    UniDistillResponseLoss,
    unidistill,
)
from mmkd.ops import check_values

SIZE, METRES = (8, 8), (-4., -6., 4., 2.)
KINDS = {
    'none': [], 'ordinary': [[-1.2, -1.3, 0., 3.1, 1.7, 1., .4], [1.4, -3.2, 1., 2.2, 1.2, 2., 2.]],
    'outside': [[40., 2., 0., 4., 2., 1., 0.]], 'across': [[-4., -6., 0., 4., 3., 1., .7]],
    'zero': [[.5, .5, 0., 0., 0., 1., 0.]], 'broken': [[math.nan, 1., 0., 2., 1., 1., math.inf]]}


def boxes_of(*kinds, dtype=torch.float64):
    return [torch.tensor(KINDS[kind], dtype=dtype).reshape(-1, 7) for kind in kinds]


def maps(batch=2, channels=(3, 3), sizes=(SIZE, SIZE), seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(batch, c, *size, generator=generator, dtype=torch.float64)
                        for c, size in zip(channels, sizes, strict=True))
    return student.requires_grad_(), teacher


def points_of(box):
    corners = []
    for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1)):
        along, across = a * box[3] / 2, b * box[4] / 2
        corners.append((box[0] + along * math.cos(box[6]) - across * math.sin(box[6]),
                        box[1] + along * math.sin(box[6]) + across * math.cos(box[6])))
    pairs = [(corners[i], corners[j]) for i, j in ((0, 1), (1, 2), (2, 3), (0, 3))]
    return corners + [tuple(sum(p[k] for p in corners) / 4 for k in (0, 1))] + [
        tuple((a[k] + b[k]) / 2 for k in (0, 1)) for a, b in pairs]


def read(x, point, transposed):
    """The bilinear value (C,) of a map (C, Y, X) at metres, 0 beyond."""
    u = [(point[k] - METRES[k]) / (METRES[k + 2] - METRES[k]) * x.shape[2 - k] - .5
         for k in (0, 1)]
    column, row = reversed(u) if transposed else u
    value = torch.zeros_like(x[:, 0, 0])
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < x.shape[1] and 0 <= j < x.shape[2]:
                value = value + x[:, i, j] * (1 - abs(row - i)) * (1 - abs(column - j))
    return value


def expected(kind, student, teacher, boxes, transposed):
    total, count = 0., 0
    for s, t, some in zip(student, teacher, boxes, strict=True):
        for box in some.tolist():
            count += 1
            at = [[read(x, point, transposed) for point in points_of(box)] for x in (s, t)]
            if kind == 'feature':
                total = total + sum((a - b).abs().mean() for a, b in zip(*at, strict=True)) / 9
                continue
            unit = [[f / (f.norm() + 1e-4) for f in side] for side in at]
            total = total + sum(
                (unit[0][i] @ unit[0][j] - unit[1][i] @ unit[1][j]).abs()
                for i in range(9) for j in range(9)) / 81
    return total / (count + 1e-4)


LOSSES = dict(feature=UniDistillFeatureLoss, relation=UniDistillRelationLoss)


@pytest.mark.parametrize('kind', LOSSES)
@pytest.mark.parametrize('transposed', [True, False])
@pytest.mark.parametrize('kinds', [('ordinary', 'none'), ('none', 'ordinary'),
                                   ('ordinary', 'ordinary')])
def test_it_is_the_formula(kind, transposed, kinds):
    student, teacher = maps()
    boxes = boxes_of(*kinds)
    loss = LOSSES[kind](transposed=transposed)(student, teacher, boxes, METRES)
    other = expected(kind, student, teacher, boxes, transposed)
    assert loss.item() == pytest.approx(other.item(), rel=1e-9)
    torch.testing.assert_close(*(torch.autograd.grad(x, student)[0] for x in (loss, other)))


@pytest.mark.parametrize('kind', LOSSES)
def test_each_map_is_read_at_the_same_metres(kind):
    """Whatever its cells; y and x have other numbers of them."""
    student, teacher = maps(1, sizes=((4, 8), (16, 8)))
    boxes = boxes_of('ordinary')
    loss = LOSSES[kind](transposed=False)(student, teacher, boxes, METRES)
    assert loss.item() == pytest.approx(
        expected(kind, student, teacher, boxes, False).item(), rel=1e-9)


def test_rows_are_y_and_the_official_reading_is_the_transpose():
    """A marker at [6, 1] is seen by a box there, or, as in the official code, in the transpose."""
    marked, empty = torch.zeros(1, 2, *SIZE), torch.zeros(1, 2, *SIZE)
    marked[:, :, 6, 1] = 1.
    there, exchanged = (torch.tensor([[-4 + column + .5, -6 + row + .5, 0., .5, .5, 1., 0.]])
                        for row, column in ((6, 1), (1, 6)))
    for transposed, seen, unseen in ((False, there, exchanged), (True, exchanged, there)):
        loss = UniDistillFeatureLoss(transposed=transposed)
        assert loss(marked, empty, [seen], METRES) > .5
        assert loss(marked, empty, [unseen], METRES) == 0
    assert UniDistillFeatureLoss().transposed and UniDistillRelationLoss().transposed


@pytest.mark.parametrize('kinds', list(itertools.product(KINDS, repeat=2)))
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_any_boxes_give_finite_values_and_gradients(kinds, dtype):
    student, teacher = (x.detach().to(dtype) for x in maps())
    student.requires_grad_()
    boxes = boxes_of(*kinds, dtype=torch.float32)
    sides = [dict(heatmap=[x[:, :1], x[:, 1:]], reg=[x]) for x in (student, teacher)]
    values = [loss()(student, teacher, boxes, METRES) for loss in LOSSES.values()]
    values += UniDistillResponseLoss()(*sides, boxes, METRES).values()
    for value in values:
        gradient, = torch.autograd.grad(value, student)
        assert value.isfinite() and value >= 0 and gradient.isfinite().all()
        assert value.dtype == torch.float32
    if kinds == ('none', 'none'):
        assert not any(values)


def test_relations_of_unequal_channels_and_of_nothing():
    student, teacher = maps(channels=(2, 5))
    boxes = boxes_of('ordinary', 'none')
    assert UniDistillRelationLoss()(student, teacher, boxes, METRES) > 0
    with pytest.raises(ValueError, match='student has 2 channels, teacher 5'):
        UniDistillFeatureLoss()(student, teacher, boxes, METRES)
    zero = torch.zeros_like(student).requires_grad_()
    loss = UniDistillRelationLoss()(zero, teacher, boxes, METRES)
    assert torch.autograd.grad(loss, zero)[0].isfinite().all()


# ---- the heads ---------------------------------------------------------------------------------
def heads(seed=0, size=SIZE, classes=(1, 2)):
    generator = torch.Generator().manual_seed(seed)

    def draw(channels):
        return torch.randn(2, channels, *size, generator=generator, dtype=torch.float64)
    return dict(heatmap=[draw(k) for k in classes], reg=[draw(10) for _ in classes])


def test_response_is_the_formula():
    """A box of one cell is a spot; a larger one a Gaussian. The place is [y, x]."""
    student, teacher = heads(), heads(1)
    spot = torch.tensor([[-4 + 5.5, -6 + 2.5, 0., .5, .5, 1., 0.]])
    losses = UniDistillResponseLoss()(student, teacher, [spot, spot[:0]], METRES)
    s, t = (torch.cat(side['heatmap'], 1)[0, :, 2, 5] for side in (student, teacher))
    best = max(1 / (1 + math.exp(-v)) for v in s.tolist()) - max(
        1 / (1 + math.exp(-v / 2)) for v in t.tolist())
    assert losses['cls'].item() == pytest.approx(abs(best) / 1.0001, rel=1e-6)
    s, t = (torch.cat(side['reg'], 1)[0, :, 2, 5] for side in (student, teacher))
    assert losses['reg'].item() == pytest.approx(
        ((s - t).abs().sum() / 20 / 1.0001).item(), rel=1e-6)
    large = torch.tensor([[0., -2., 0., 6., 5., 1., 0.]])
    weight = UniDistillResponseLoss().foreground([large, spot], METRES, student['reg'][0])
    assert weight[0].max() == weight[0, 4, 4] == 1 and (weight[0] > 0).sum() > 4
    assert weight[1].nonzero().tolist() == [[2, 5]]


@pytest.mark.parametrize('low', [1e-4, 1e-3])
def test_probabilities_are_clamped(low):
    student, teacher = heads(), heads()
    student['heatmap'] = [x * 0 - 40. for x in student['heatmap']]
    teacher['heatmap'] = [x * 0 - 80. for x in teacher['heatmap']]
    loss = UniDistillResponseLoss(sigmoid_clamp=low)
    cls = loss(student, teacher, boxes_of('ordinary', 'none'), METRES)['cls']
    total = loss.foreground(boxes_of('ordinary', 'none'), METRES, student['reg'][0]).sum()
    assert cls.item() == pytest.approx((low - 1e-4) * (total / (total + 1e-4)).item(), abs=1e-9)


def test_response_of_other_sizes_and_of_the_same():
    boxes = boxes_of('ordinary', 'none')
    student, teacher = heads(), heads(1, size=(4, 4))
    student['reg'][0].requires_grad_()
    losses = UniDistillResponseLoss()(student, teacher, boxes, METRES)
    assert losses['cls'] > 0 and losses['reg'].requires_grad
    same = UniDistillResponseLoss(tau=1.)(student, heads(), boxes, METRES)
    assert same['cls'] == 0 and same['reg'] == 0


def test_what_is_refused():
    boxes, (student, teacher) = boxes_of('ordinary', 'none'), maps()
    for loss in LOSSES.values():
        with pytest.raises(ValueError, match='boxes_3d must be 2 tensors'):
            loss()(student, teacher, boxes[:1], METRES)
    with pytest.raises(ValueError, match='the teacher has no reg'):
        UniDistillResponseLoss()(heads(), dict(heatmap=[]), boxes, METRES)
    with pytest.raises(ValueError, match='boxes_3d must be 2 tensors'):
        UniDistillResponseLoss()(heads(), heads(), boxes[:1], METRES)
    with pytest.raises(ValueError, match='greater than 0'):
        UniDistillResponseLoss(tau=0.)


def test_nothing_is_read_from_the_device(monkeypatch):
    """Tensors on 'meta' have no values to read (and it has no autocast)."""
    for module in (unidistill, full_precision):
        monkeypatch.setattr(module, 'full_precision', contextlib.nullcontext)
    with torch.device('meta'), check_values(False):
        sides = [torch.empty(2, 3, *SIZE) for _ in range(2)]
        boxes = [torch.empty(4, 7), torch.empty(0, 7)]
        values = [loss()(*sides, boxes, METRES) for loss in LOSSES.values()]
        values += UniDistillResponseLoss()(
            *(dict(heatmap=[x], reg=[x]) for x in sides), boxes, METRES).values()
    assert all(value.shape == () and value.is_meta for value in values)
