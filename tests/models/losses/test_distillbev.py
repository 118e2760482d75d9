"""DistillBEV against its formula by loops, with boxes of every kind, and its options."""
import contextlib
import itertools
import math
import random

import pytest
import torch

from mmkd.models.losses.bev import DistillBEVLoss
from mmkd.models.losses.bev import distillbev as distillbev_module
from mmkd.models.losses.bev.distillbev_regions import FALSE_POSITIVES, component_sizes

from .distillbev_reference import component, distillbev, regions

SIZE, METRES = (7, 10), (-5., -2., 5., 5.)  # cells of 1 m; y and x differ
KINDS = {
    'none': [], 'ordinary': [[-1.2, 1.3, 0., 3.1, 1.7, 1., .4], [2.4, 2.2, 1., 2.2, 1.2, 2., 2.1]],
    'overlapping': [[0., 1., 0., 4., 2., 1., 0.3], [.5, 1.5, 0., 2., 5., 1., -.2]],
    'outside': [[40., 2., 0., 4., 2., 1., 0.]], 'across': [[-5., -2., 0., 4., 3., 1., .7]],
    'zero': [[.5, .5, 0., 0., 2., 1., 0.], [1., 1., 0., 0., 0., 0., 0.]],
    'tiny': [[.52, .51, 0., .2, .2, 1., 0.]], 'everything': [[0., 0., 0., 90., 90., 1., .2]]}
BOTH = list(itertools.product(KINDS, ('none', 'ordinary')))


def boxes_of(*kinds, columns=7):
    return [torch.tensor(KINDS[kind], dtype=torch.float64).reshape(-1, columns) for kind in kinds]


def maps(batch=2, channels=3, size=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, batch, channels, *size, generator=generator,
                                   dtype=torch.float64)
    return student.requires_grad_(), teacher


def built(**options):
    torch.manual_seed(0)
    return DistillBEVLoss(**options).double()


def assert_is_reference(losses, student, expected):
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-6, abs=1e-12), name
    gradients = [torch.autograd.grad(sum(values.values()), student, retain_graph=True)[0]
                 for values in (losses, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize('kinds', BOTH)
def test_it_is_the_formula(kinds):
    student, teacher = maps()
    loss, boxes = built(), boxes_of(*kinds)
    conv = loss.spatial_conv
    expected = distillbev(student, teacher, [one.tolist() for one in boxes], METRES,
                          (conv.weight, conv.bias))
    assert_is_reference(loss(student, teacher, boxes, METRES), student, expected)


@pytest.mark.parametrize('kinds', [('ordinary', 'overlapping'), ('across', 'none')])
def test_context_around_boxes(kinds):
    student, teacher = maps()
    boxes = boxes_of(*kinds)
    loss = built(context_length=2., context_weight=.4, channel_mask=False)
    conv = loss.spatial_conv
    expected = distillbev(student, teacher, [one.tolist() for one in boxes], METRES,
                          (conv.weight, conv.bias), channel_mask=False, context=(2., .4))
    assert_is_reference(loss(student, teacher, boxes, METRES), student, expected)
    assert built(context_length=2., context_weight=.4)(
        student, teacher, boxes_of('zero', 'none'), METRES)['fg'].isfinite()


@pytest.mark.parametrize('mode', [mode for mode in FALSE_POSITIVES if mode != 'none'])
@pytest.mark.parametrize('scale, below', [('average', None), ('dfs', .3)])
def test_false_positives(mode, scale, below):
    student, teacher = maps()
    boxes = boxes_of('ordinary', 'none')
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 2, 5, *SIZE, generator=generator, dtype=torch.float64) - 2
    gt = torch.rand(2, 3, *SIZE, generator=generator, dtype=torch.float64) ** 6
    loss = built(fp_as_foreground=mode, fp_weight=.3, fp_scale_mode=scale, output_threshold=.4,
                 groundtruth_threshold=below)
    conv = loss.spatial_conv
    probabilities = logits.sigmoid().amax(2)
    fp = dict(mode=mode, weight=.3, scale=scale, threshold=.4, below=below or .4,
              gt=gt.amax(1), teacher=probabilities[0], student=probabilities[1])
    expected = distillbev(student, teacher, [one.tolist() for one in boxes], METRES,
                          (conv.weight, conv.bias), fp=fp)
    assert expected['fp'] > 0
    # tasks may be split otherwise
    losses = loss(dict(feature=student, heatmap=list(logits[1].split([1, 4], 1))),
                  dict(feature=teacher, heatmap=list(logits[0].split([2, 2, 1], 1))), boxes,
                  METRES, [gt])
    assert_is_reference(losses, student, expected)


def test_false_positives_of_a_network_that_sees_objects_everywhere():
    """Of a sample in which nothing is background is left nothing, and it is finite."""
    student, teacher = maps()
    heat = [torch.full((2, 1, *SIZE), 9.)]
    loss = built(fp_as_foreground='teacher', fp_weight=1.)
    losses = loss(dict(feature=student, heatmap=heat), dict(feature=teacher, heatmap=heat),
                  boxes_of('none', 'everything'), METRES, [torch.zeros(2, 1, *SIZE)])
    assert losses['bg'] == 0 and losses['fp'] > 0 and all(x.isfinite() for x in losses.values())


@pytest.mark.parametrize('factor', [2, 3])
def test_heatmaps_of_another_size(factor):
    """A student's finer one is pooled by the maximum, a coarser result is repeated."""
    student, teacher = maps(1, size=(4, 6))
    coarse, fine = torch.full((1, 1, 4, 6), -9.), torch.full((1, 1, 4 * factor, 6 * factor), -9.)
    fine[..., 2 * factor - 1, 5 * factor] = 3.
    none = torch.zeros(1, 1, 4 * factor, 6 * factor)
    loss = built(fp_as_foreground='student')
    wrong = loss.masks(boxes_of('none'), METRES, (4, 6), ([none], [coarse], [fine]))[2]
    assert wrong.nonzero().tolist() == [[0, 1, 5]]
    wrong = loss.masks(boxes_of('none'), METRES, (8, 12), ([none], [coarse], [fine]))[2]
    assert wrong.nonzero().tolist() == [[0, i, j] for i in (2, 3) for j in (10, 11)]
    assert wrong.sum() == 1


def test_rows_are_y_and_columns_x():
    """A cell that differs is in the foreground where a box is over its lower corner."""
    student, teacher = torch.zeros(1, 3, *SIZE), torch.zeros(1, 3, *SIZE)
    student[:, :, 5, 1] = 1.  # x from -4, y from 3
    at, exchanged = (torch.tensor([[x, y, 0., .5, .5, 1., 0.]]) for x, y in
                     ((-4.1, 3.1), (3.1, -4.1)))
    loss = DistillBEVLoss()
    there, elsewhere = (loss(student, teacher, [box], METRES) for box in (at, exchanged))
    assert there['fg'] > 0 and there['bg'] == 0
    assert elsewhere['fg'] == 0 and elsewhere['bg'] > 0
    foreground = loss.masks([at], METRES, SIZE)[0][0]
    assert foreground.nonzero().tolist() == [[5, 1]]
    assert foreground[5, 1].item() == pytest.approx(math.sqrt(1 / .25))


@pytest.mark.parametrize('kind', ['separate_gt', 'bg_only', None])
def test_other_scales(kind):
    boxes = boxes_of('overlapping', 'none')
    fg, bg, _ = built(scale_mask=kind).masks(boxes, METRES, SIZE)
    for b, one in enumerate(boxes):
        foreground, scale, rest = (torch.tensor(x) for x in regions(one.tolist(), METRES, SIZE))
        of_fg = {'separate_gt': scale, 'bg_only': rest, None: torch.tensor(1.)}[kind]
        torch.testing.assert_close(fg[b], foreground * of_fg)
        torch.testing.assert_close(bg[b], (foreground == 0) * (rest if kind else 1.))


def test_the_students_part_in_the_attention():
    student, teacher = maps()
    of_teacher = built().attention(student, teacher)[0]
    of_student = built().attention(teacher, student)[0]
    both = built(spatial_attention='teacher_student', spatial_student_ratio=3.)
    torch.testing.assert_close(both.attention(student, teacher)[0],
                               (of_teacher + 3 * of_student) / 4)


@pytest.mark.parametrize('kinds', list(itertools.product(KINDS, repeat=2)))
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_any_boxes_give_finite_values_and_gradients(kinds, dtype):
    student, teacher = maps()
    student = student.detach().to(dtype).requires_grad_()
    boxes = [one.float() for one in boxes_of(*kinds)]
    losses = DistillBEVLoss()(student, teacher.to(dtype), boxes, METRES)
    gradient, = torch.autograd.grad(sum(losses.values()), student)
    assert all(value.isfinite() and value >= 0 for value in losses.values())
    assert gradient.isfinite().all() and gradient.any()


def test_boxes_with_velocity_and_broken_boxes():
    student, teacher = maps(1)
    box = torch.tensor([[*KINDS['ordinary'][0], 3., 4.], [math.nan] * 9])
    losses, plain = (built()(student, teacher, [one], METRES) for one in (box, box[:1, :7]))
    assert all(torch.equal(losses[name], plain[name]) for name in plain)


def components(mask):
    cells = {tuple(cell) for cell in mask.nonzero().tolist()}
    sizes = torch.ones(mask.shape, dtype=torch.int64)
    for cell in cells:
        sizes[cell] = len(component(cells, cell))
    return sizes


def spiral(n):
    mask, i, j, turn = torch.zeros(n, n, dtype=torch.bool), 0, 0, 0
    for length in [n - 1, *(k for k in range(n - 1, 0, -2) for _ in range(2))]:
        for _ in range(length):
            mask[i, j] = True
            i, j = i + (0, 1, 0, -1)[turn], j + (1, 0, -1, 0)[turn]
        turn = (turn + 1) % 4
    return mask


def shapes():
    generator = random.Random(0)
    yield torch.ones(1, 1, dtype=torch.bool)
    yield torch.zeros(3, 4, dtype=torch.bool)
    yield torch.ones(5, 9, dtype=torch.bool)
    yield spiral(17)
    yield spiral(17).flip(0, 1)
    comb = torch.zeros(9, 20, dtype=torch.bool)
    comb[-1], comb[:, ::2] = True, True
    yield from (comb, comb.flip(0), comb.T, (torch.arange(9)[:, None] + torch.arange(9)) % 2 == 0)
    for size in ((1, 30), (30, 1), (12, 13), (25, 31)):
        for share in (.4, .6, .8):
            yield torch.tensor([[generator.random() < share for _ in range(size[1])]
                                for _ in range(size[0])])


def test_sizes_of_components():
    for mask in shapes():
        both = torch.stack([mask, mask.flip(1)])
        for found, one in zip(component_sizes(both), both, strict=True):
            assert torch.equal(found, components(one)), mask


@pytest.mark.parametrize('options, message', [
    (dict(scale_mask='gt'), "scale_mask='gt', expected one of 'combine_gt'"),
    (dict(spatial_attention='both'), 'spatial_attention'), (dict(fp_scale_mode='bfs'), "'dfs'"),
    (dict(fp_as_foreground=None), "'none', 'teacher'"), (dict(spatial_t=0.), 'greater than 0')])
def test_what_is_refused_when_it_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        DistillBEVLoss(**options)


def test_what_is_refused_in_a_step():
    student, teacher = maps()
    with pytest.raises(ValueError, match='boxes_3d must be 2 tensors'):
        built()(student, teacher, boxes_of('none'), METRES)
    with pytest.raises(ValueError, match='the student has no feature, heatmap'):
        built(fp_as_foreground='teacher')(student, teacher, boxes_of('none', 'none'), METRES)


@pytest.mark.parametrize('scale', ['average', 'dfs'])
def test_nothing_is_read_from_the_device(monkeypatch, scale):
    """Tensors on 'meta' have no values to read (and it has no autocast)."""
    monkeypatch.setattr(distillbev_module, 'full_precision', contextlib.nullcontext)
    with torch.device('meta'):
        student, teacher = torch.empty(2, 3, *SIZE, requires_grad=True), torch.empty(2, 3, *SIZE)
        heat = [torch.empty(2, 2, *SIZE)]
        loss = DistillBEVLoss(fp_as_foreground='student', fp_scale_mode=scale, context_length=1.,
                              context_weight=.5)
        losses = loss(dict(feature=student, heatmap=heat), dict(feature=teacher, heatmap=heat),
                      [torch.empty(4, 7), torch.empty(0, 7)], METRES, heat)
    assert all(value.shape == () and value.is_meta for value in losses.values())
