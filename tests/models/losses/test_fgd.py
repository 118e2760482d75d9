"""FGD against its formula, with plain loops, and with boxes of every kind."""
import math

import pytest
import torch
from torch import nn

from mmkd.models.losses.feature import FGDLoss

SIZE, PADDED = (4, 6), (32, 48)
KINDS = {
    'ordinary': [[4, 4, 30, 22], [20, 10, 40, 30]], 'none': [], 'whole': [[0, 0, 48, 32]],
    'outside': [[-30, -30, -10, -8], [60, 40, 90, 80]],
    'across': [[-9, -9, 9, 9], [40, 20, 90, 60]],
    'zero': [[10, 10, 10, 10], [0, 0, 0, 0], [48, 32, 48, 32]], 'tiny': [[3., 3., 3.5, 3.25]],
}


def batch(*boxes, sizes=None):
    boxes = [torch.tensor(found, dtype=torch.float64).reshape(-1, 4) for found in boxes]
    return dict(boxes=boxes, image_sizes=sizes or [PADDED] * len(boxes), padded_size=PADDED)


def maps(n=2, c=4, size=SIZE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, n, c, *size, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), teacher


def built(channels=4, seed=0, **options):
    torch.manual_seed(seed)
    return FGDLoss(channels, **options).double()


def softmax(values):
    top = [math.exp(value) for value in values]
    return [value / sum(top) for value in top]


def test_fg_bg_and_mask_are_the_formula():
    student, teacher = maps()
    boxes = [[(0, 0, 2, 1), (1, 1, 4, 2)], [(3, 0, 5, 3)]]  # in cells, both ends included
    extras = batch(*([[8. * x0, 8. * y0, 8. * x1, 8. * y1] for x0, y0, x1, y1 in found]
                     for found in boxes))
    s, t = student.tolist(), teacher.tolist()
    cells = [(y, x) for y in range(4) for x in range(6)]
    expected = dict(fg=0., bg=0., mask=0.)
    for n in range(2):
        place, channel = {}, {}
        for side, x in (('s', s[n]), ('t', t[n])):
            place[side] = [24 * v for v in softmax(
                [sum(abs(x[c][i][j]) for c in range(4)) / 4 / 0.5 for i, j in cells])]
            channel[side] = [4 * v for v in softmax(
                [sum(abs(x[c][i][j]) for i, j in cells) / 24 / 0.5 for c in range(4)])]
        share = [max([0.] + [1 / ((x1 - x0 + 1) * (y1 - y0 + 1)) for x0, y0, x1, y1 in boxes[n]
                             if x0 <= j <= x1 and y0 <= i <= y1]) for i, j in cells]
        for k, (i, j) in enumerate(cells):
            error = sum(channel['t'][c] * (s[n][c][i][j] - t[n][c][i][j]) ** 2 for c in range(4))
            expected['fg'] += share[k] * place['t'][k] * error / 2
            expected['bg'] += (share[k] == 0) / share.count(0) * place['t'][k] * error / 2
        for attention in (place, channel):
            expected['mask'] += sum(abs(a - b) for a, b in zip(
                attention['s'], attention['t'], strict=True)) / 2
    parts = built().parts(student, teacher, **extras)
    for name, value in expected.items():
        assert parts[name].item() == pytest.approx(value, rel=1e-6), name


def test_rela_is_the_distance_at_first_and_moves_with_both_blocks():
    student, teacher = maps()
    loss = built()
    assert loss.parts(student, teacher, **batch([], []))['rela'].item() == pytest.approx(
        (student - teacher).square().sum().item() / 2)
    for block in (loss.student_context, loss.teacher_context):
        nn.init.normal_(block.transform[-1].weight)
    rela = loss.parts(student, teacher, **batch([], []))['rela']
    rela.backward()
    contexts = []
    for block, x in ((loss.student_context, student), (loss.teacher_context, teacher)):
        weights = block.weigh(x).flatten(2).softmax(2)
        mean = (x.flatten(2) * weights).sum(2)[:, :, None, None]
        contexts.append(x + block.transform(mean))
    assert rela.item() == pytest.approx((contexts[0] - contexts[1]).square().sum().item() / 2)
    assert all(p.grad.abs().sum() > 0 for name, p in loss.named_parameters()
               if not name.endswith('weigh.bias'))  # which a softmax does not see


def test_the_weights_are_outside_the_parts():
    student, teacher = maps()
    loss = built(alpha_fgd=2., beta_fgd=3., gamma_fgd=5., lambda_fgd=0.)
    parts = loss.parts(student, teacher, **batch([], KINDS['ordinary']))
    weighted = loss(student, teacher, **batch([], KINDS['ordinary']))
    assert weighted == {'fg': 2 * parts['fg'], 'bg': 3 * parts['bg'], 'mask': 5 * parts['mask'],
                        'rela': 0}


@pytest.mark.parametrize('official', [False, True])
@pytest.mark.parametrize('first', KINDS)
@pytest.mark.parametrize('second', KINDS)
def test_any_boxes_give_finite_values_and_gradients(official, first, second):
    student, teacher = maps()
    losses = built(official_boxes=official)(student, teacher, **batch(KINDS[first], KINDS[second]))
    gradient, = torch.autograd.grad(sum(losses.values()), student)
    assert all(value.isfinite() and value >= 0 for value in losses.values())
    assert gradient.isfinite().all() and gradient.any()


def test_without_boxes_all_is_background():
    student, teacher = maps()
    parts = built().parts(student, teacher, **batch([], []))
    assert parts['fg'] == 0 and parts['fg'].requires_grad and parts['bg'] > 0
    full = built().parts(student, teacher, **batch(KINDS['whole'], KINDS['whole']))
    # one box over everything weighs as the background does without any
    assert full['bg'] == 0 and full['fg'].item() == pytest.approx(parts['bg'].item())


@pytest.mark.parametrize('box', [[3., 3., 3.5, 3.25], [9., 9., 9., 9.], [0., 0., 1., 1.]])
def test_a_box_of_a_pixel_and_less_has_its_weight(box):
    """An integer division would make 0 of 1 / area."""
    for boxes in (torch.tensor([box]), torch.tensor([box]).long()):
        fg, bg = built().masks([boxes], SIZE, [PADDED], PADDED)
        assert fg.sum().item() == pytest.approx(1) and bg.sum().item() == pytest.approx(1)


def test_boxes_lie_where_they_are_on_padded_images():
    box, small = [[8., 8., 16., 16.]], [(16, 24)]
    fg, _ = built().masks(**batch(box, sizes=small), size=SIZE)
    cells = [(i, j) for i in range(4) for j in range(6) if fg[0, i, j]]
    assert cells == [(i, j) for i in (1, 2) for j in (1, 2)]
    official, _ = built(official_boxes=True).masks(**batch(box, sizes=small), size=SIZE)
    cells = [(i, j) for i in range(4) for j in range(6) if official[0, i, j]]
    assert cells == [(i, j) for i in (2, 3) for j in (2, 3, 4)]  # twice as far, and clipped


def test_images_that_fill_the_batch_are_drawn_alike_inside():
    extras = batch([[4, 4, 30, 22], [9, 3, 12, 5]], [[17, 10, 31, 20]])
    ours, official = (built(official_boxes=official).masks(**extras, size=SIZE)
                      for official in (False, True))
    for one, other in zip(ours, official, strict=True):
        torch.testing.assert_close(one, other)


def test_an_official_box_left_of_the_image_is_drawn_at_the_right():
    extras = batch([[-24., 0., -16., 8.]])
    assert not built().masks(**extras, size=SIZE)[0].any()
    wrapped = built(official_boxes=True).masks(**extras, size=SIZE)[0][0]
    assert wrapped[:2, 3:5].gt(0).all() and wrapped.count_nonzero() == 4


def test_scale_per_level():
    """Twice the height and width: 'fg' and 'bg' stay, 'mask' and 'rela' are four times as much."""
    fine, coarse = (built(64).parts(*maps(2, 64, size), **batch(KINDS['ordinary'], []))
                    for size in ((32, 48), (16, 24)))
    for name, ratio in dict(fg=1, bg=1, mask=4, rela=4).items():
        assert (fine[name] / coarse[name]).item() == pytest.approx(ratio, rel=0.3), name


@pytest.mark.parametrize('size', [(1, 7), (7, 1), (1, 1)])
def test_gradient(size):
    student, teacher = maps(2, 3, size)
    loss = built(3, alpha_fgd=1., beta_fgd=1., gamma_fgd=1., lambda_fgd=1.)
    extras = batch(KINDS['ordinary'], KINDS['across'])
    assert torch.autograd.gradcheck(
        lambda x: sum(loss(x, teacher, **extras).values()), student)


def test_what_cannot_be():
    for channels in (None, 0):
        with pytest.raises(ValueError, match='teacher_channels'):
            FGDLoss(channels)
    with pytest.raises(ValueError, match='temp=0'):
        FGDLoss(4, temp=0)
    student, teacher = maps()
    with pytest.raises(ValueError, match='boxes of 1'):
        built()(student, teacher, **batch([]))  # boxes of one image only
