"""PGD: where the weights lie, with mmdet's own heads, and the two losses against loops."""
import numpy as np
import pytest
import torch

from mmkd.models.libraries.mmdet_heads import dense_head
from mmkd.models.losses import PGDClsLoss, PGDRegLoss
from mmkd.models.losses.feature.pgd_weights import (
    background_weights,
    gaussian,
    prediction_weights,
    weight_maps,
)
from tests.dense_heads import BOXES, TOWERED, Detector, build_head, pyramid, sizes_of
from tests.golden.handmade_region import pgd_loss_arrays

CLASSES = 5
AWKWARD = {
    'ordinary': BOXES, 'none': ([], []), 'none in one': ([], BOXES[0]), 'one image': BOXES[:1],
    'zero size': ([[20., 20., 20., 20.], [8., 9., 30., 9.]], [[0., 0., 0., 0.]]),
    'outside': ([[-30., -30., -10., -12.]], [[70., 70., 90., 90.]]),
    'all of it': ([[0., 0., 64., 64.]], [[-1e6, -1e6, 1e6, 1e6]])}


def ground_truth(found):
    boxes = [torch.tensor(of_image).reshape(-1, 4) for of_image in found]
    return boxes, [torch.arange(len(of_image)) for of_image in boxes]


def teacher_of(name, images=2, num_classes=CLASSES):
    """The predictions of one of mmdet's heads on random features, and the head."""
    module = build_head(name, num_classes).eval()
    taps = {'cls': [], 'reg': []}
    features = pyramid(images=images)
    layers = {'cls': [getattr(module, dict(RetinaHead='retina_cls', ATSSHead='atss_cls',
                                           GFLHead='gfl_cls', FCOSHead='conv_cls')[name])],
              'reg': getattr(module, 'scales', None) or [module.retina_reg]}
    handles = [layer.register_forward_hook(
        lambda *args, tap=tap: taps[tap].append(args[2].clone()))
        for tap, found in layers.items() for layer in found]
    with torch.no_grad():
        module(features)
    for handle in handles:
        handle.remove()
    return taps, dense_head(Detector(bbox_head=module))


def sides(name='ATSSHead', images=2, seed=5, dtype=torch.float32):
    taps, head = teacher_of(name, images)
    student = [x.to(dtype).requires_grad_() for x in pyramid(3, images, seed=seed)]
    teacher = [x.to(dtype) for x in pyramid(3, images, seed=seed + 1)]
    return dict(feature=student), dict(taps, feature=teacher), head


# ---- weights -------------------------------------------------------------------------
def test_the_gaussian_is_that_of_the_places():
    torch.manual_seed(0)
    places = 50 * torch.rand(3, 9, 2, dtype=torch.float64)
    torch.manual_seed(1)
    found = gaussian(places)
    torch.manual_seed(1)
    moved = places + (torch.rand(places.shape) - .5).double() * .1
    for row, near, expected in zip(places.numpy(), moved.numpy(), found, strict=True):
        away = row - near.mean(0)
        distance = np.einsum('ni,ij,nj->n', away, np.linalg.inv(np.cov(near.T, bias=True)), away)
        np.testing.assert_allclose(expected, np.exp(-.5 * distance), rtol=1e-6)


@pytest.mark.parametrize('places', [
    [[3., 4.]], [[3., 4.], [9., 4.]], [[3., 4.]] * 5, [[float(x), 7.] for x in range(9)],
    [[1e4 + x, 1e4 + x] for x in range(9)]], ids=['one', 'two', 'equal', 'line', 'diagonal'])
def test_the_gaussian_of_awkward_places_is_finite(places):
    for seed in range(20):
        torch.manual_seed(seed)
        weights = gaussian(torch.tensor([places]))
        assert weights.isfinite().all() and (weights >= 0).all() and (weights <= 1).all()
    assert gaussian(torch.tensor([places[:1]])).item() == 1


@pytest.mark.parametrize('places', [1, 3, 8])
def test_fewer_places_than_topk(places):
    centres = 8 * torch.arange(places)[:, None].repeat(1, 2) + 4.
    predicted = torch.cat([centres - 6, centres + 6], 1)
    weights = prediction_weights(centres, torch.zeros(places, 2), predicted,
                                 torch.tensor([[0., 0., 70., 70.]]), torch.tensor([1]), 9, .8)
    assert weights.shape == (places,) and (weights > 0).all() and weights.isfinite().all()


def test_no_place_and_no_object_have_no_weight():
    empty = prediction_weights(torch.zeros(0, 2), torch.zeros(0, 3), torch.zeros(0, 4),
                               torch.tensor([[0., 0., 9., 9.]]), torch.tensor([1]), 9, .8)
    assert empty.shape == (0,)
    centres, nothing = torch.rand(6, 2), torch.zeros(0, 4)
    weights = prediction_weights(centres, torch.zeros(6, 3), torch.rand(6, 4), nothing,
                                 torch.zeros(0, dtype=torch.int64), 9, .8)
    assert not weights.any() and (background_weights(centres, nothing) == 1).all()


def test_quality_weighs_the_score_of_the_class_against_the_overlap():
    """Of two places, one has the better score, one the better box."""
    centres = torch.tensor([[20., 20.], [24., 20.]])
    logits = torch.tensor([[9., 3.], [9., -3.]])
    predicted = torch.tensor([[0., 0., 20., 40.], [0., 0., 40., 40.]])
    for alpha, best in ((0., 0), (1., 1)):
        weights = prediction_weights(centres, logits, predicted, torch.tensor([[0., 0., 40., 40.]]),
                                     torch.tensor([1]), 1, alpha)
        assert weights.tolist() == [float(best == 0), float(best == 1)]


@pytest.mark.parametrize('name', TOWERED)
@pytest.mark.parametrize('found', AWKWARD.values(), ids=AWKWARD)
def test_maps_of_mmdets_heads(name, found):
    taps, head = teacher_of(name, len(found))
    boxes, labels = ground_truth(found)
    fg, bg = weight_maps(taps['cls'], taps['reg'], boxes, labels, head, topk=9, alpha=.8)
    sizes = sizes_of(taps['cls'])
    assert [tuple(x.shape) for x in fg] == [(len(found), *size) for size in sizes]
    points = head.points(sizes)
    for i, of_image in enumerate(found):
        inside = [torch.tensor([any(x0 < x < x1 and y0 < y < y1 for x0, y0, x1, y1 in of_image)
                                for x, y in level.tolist()], dtype=torch.bool) for level in points]
        for level, within in enumerate(inside):
            assert torch.equal(bg[level][i].flatten(), (~within).float())
            weights = fg[level][i].flatten()
            assert (weights >= 0).all() and (weights <= 1).all() and not weights[~within].any()
        chosen = sum(int((level[i] > 0).sum()) for level in fg)
        assert chosen <= 9 * len(of_image)
        assert chosen or not any(within.sum() > 9 for within in inside)


def test_a_place_has_the_largest_weight_of_its_anchors():
    taps, head = teacher_of('RetinaHead')
    boxes, labels = ground_truth(BOXES)
    torch.manual_seed(0)
    fg, _ = weight_maps(taps['cls'], taps['reg'], boxes, labels, head, topk=30, alpha=.8)
    centres = torch.cat([x.repeat_interleave(3, 0) for x in head.points(sizes_of(taps['cls']))])
    logits = torch.cat([x[0].permute(1, 2, 0).reshape(-1, CLASSES) for x in taps['cls']])
    predicted = torch.cat([x[0] for x in head.decode(taps['reg'])])
    torch.manual_seed(0)
    rows = prediction_weights(centres, logits, predicted, boxes[0], labels[0], 30, .8)
    expected = [part.reshape(-1, 3).amax(1).reshape(x.shape[2:]) for part, x in zip(
        rows.split([3 * 64, 3 * 16, 3 * 4]), taps['cls'], strict=True)]
    for found, level in zip(fg, expected, strict=True):
        torch.testing.assert_close(found[0], level)


# ---- losses --------------------------------------------------------------------------
def masks(n, h, w):
    random = np.random.default_rng(0)
    return (random.random((n, h, w)) * (random.random((n, h, w)) < .5),
            (random.random((n, h, w)) < .5).astype(float))


@pytest.mark.parametrize('cross_image', [True, False])
def test_one_level_is_the_formula(cross_image):
    fg, bg = masks(3, 2, 4)
    arrays = pgd_loss_arrays(fg, bg)
    student, teacher = (torch.tensor(arrays[f'in.{side}']) for side in ('student', 'teacher'))
    student.requires_grad_()
    weights = torch.tensor(fg), torch.tensor(bg)
    cls = PGDClsLoss(cross_image=cross_image).parts(student, teacher, *weights)
    names = ('out.cls.fg', 'out.cls.bg') if cross_image else (
        'ref.cls.fg_per_image', 'ref.cls.bg_per_image')
    for found, name in zip(cls, (*names, 'out.cls.mask'), strict=True):
        assert found.item() == pytest.approx(float(arrays[name]), rel=1e-9)
    reg = PGDRegLoss()
    feature, attention = reg.parts(student, teacher, weights[0])
    assert (reg.gamma * feature + reg.delta * attention).item() == pytest.approx(
        float(arrays['out.reg.loss']), rel=1e-9)


def test_images_do_not_see_each_others_objects():
    """The loss of a batch is the mean of its images', but across images it is not."""
    fg, bg = (torch.tensor(x) for x in masks(2, 3, 4))
    student, teacher = torch.randn(2, 2, 3, 3, 4, dtype=torch.float64)
    for cross_image in (False, True):
        loss = PGDClsLoss(cross_image=cross_image)
        both = loss.parts(student, teacher, fg, bg)
        alone = [loss.parts(*(x[i:i + 1] for x in (student, teacher, fg, bg))) for i in range(2)]
        for part in range(3):
            mean = (alone[0][part] + alone[1][part]) / 2
            assert torch.isclose(both[part], mean) == (part == 2 or not cross_image)


def test_levels_are_weighted_and_added_up():
    student, teacher, head = sides()
    boxes, labels = ground_truth(BOXES)
    loss = PGDClsLoss(alpha=.1, delta=.01, level_weights=(1., 2., 4.))
    torch.manual_seed(0)
    value = loss(student, teacher, boxes, labels, head)
    torch.manual_seed(0)
    weights = weight_maps(teacher['cls'], teacher['reg'], boxes, labels, head, topk=9, alpha=.8)
    parts = [loss.parts(*level) for level in zip(student['feature'], teacher['feature'], *weights,
                                                 strict=True)]
    for name, i, factors in (('fg', 0, (.1, .2, .4)), ('bg', 1, (.05, .1, .2)),
                             ('attention', 2, (.01,) * 3)):
        expected = sum(f * part[i] for f, part in zip(factors, parts, strict=True))
        torch.testing.assert_close(value[name], expected)
    reg = PGDRegLoss(gamma=.3, delta=.01)
    torch.manual_seed(0)
    value = reg(student, teacher, boxes, labels, head)
    torch.manual_seed(0)
    fg, _ = weight_maps(teacher['cls'], teacher['reg'], boxes, labels, head, topk=9, alpha=.6)
    parts = [reg.parts(*level) for level in zip(student['feature'], teacher['feature'], fg,
                                                strict=True)]
    torch.testing.assert_close(value['feature'], .3 * sum(part[0] for part in parts))
    torch.testing.assert_close(value['attention'], .01 * sum(part[1] for part in parts))


@pytest.mark.parametrize('loss', [PGDClsLoss(), PGDClsLoss(cross_image=True), PGDRegLoss()],
                         ids=['cls', 'cls across', 'reg'])
@pytest.mark.parametrize('name', TOWERED)
@pytest.mark.parametrize('found', AWKWARD.values(), ids=AWKWARD)
def test_awkward_boxes_give_finite_losses_and_gradients(loss, name, found):
    student, teacher, head = sides(name, len(found))
    teacher['feature'][0][:] = 1e4
    teacher['cls'][1] = 1e4 * teacher['cls'][1]
    value = sum(loss(student, teacher, *ground_truth(found), head).values())
    gradients = torch.autograd.grad(value, student['feature'])
    assert value.isfinite() and all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher, head = sides(dtype=dtype)
    exact = ({key: [x.detach().double() for x in levels] for key, levels in side.items()}
             for side in (student, dict(teacher)))
    exact_student, exact_teacher = exact
    exact_teacher.update(cls=teacher['cls'], reg=teacher['reg'])
    for loss in (PGDClsLoss(), PGDRegLoss()):
        values = []
        for autocast, sides_ in ((False, (exact_student, exact_teacher)),
                                 (False, (student, teacher)), (True, (student, teacher))):
            torch.manual_seed(0)
            with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
                values.append(sum(loss(*sides_, *ground_truth(BOXES), head).values()))
        assert values[1].dtype == torch.float32
        assert values[1].item() == pytest.approx(values[0].item(), rel=1e-5)
        assert values[2].item() == pytest.approx(values[1].item(), rel=1e-6)
        assert torch.autograd.grad(values[1], student['feature'])[0].dtype == dtype


def test_the_teacher_gets_no_gradient():
    student, teacher, head = sides()
    for levels in teacher.values():
        for x in levels:
            x.requires_grad_()
    sum(PGDClsLoss()(student, teacher, *ground_truth(BOXES), head).values()).backward()
    assert all(x.grad is None for levels in teacher.values() for x in levels)
    assert all(x.grad is not None for x in student['feature'])


def test_what_does_not_fit_is_told():
    student, teacher, head = sides()
    truth = ground_truth(BOXES)
    for loss in (PGDClsLoss(), PGDRegLoss()):
        name = type(loss).__name__
        with pytest.raises(ValueError, match=f'{name}: teacher_tap must name feature=.*cls=.*reg='):
            loss(student, student, *truth, head)
        with pytest.raises(ValueError, match=f'{name}: student_tap must name feature='):
            loss(student['feature'], teacher, *truth, head)
        with pytest.raises(ValueError, match=f'{name}: student has 2 levels, teacher 3'):
            loss(dict(feature=student['feature'][:2]), teacher, *truth, head)
    with pytest.raises(ValueError, match='teacher tells 5 classes apart, the student 4'):
        PGDClsLoss(num_classes=4)(student, teacher, *truth, head)
    with pytest.raises(ValueError, match='6 channels, no multiple of its 5 classes'):
        softmax = [torch.cat([x, x[:, :1]], 1) for x in teacher['cls']]
        PGDClsLoss()(student, dict(teacher, cls=softmax), *truth, head)
    with pytest.raises(ValueError, match='3 levels, but level_weights has only 2'):
        PGDClsLoss(level_weights=(1., 1.))(student, teacher, *truth, head)


@pytest.mark.parametrize('arguments, word', [
    (dict(temp=0), 'temp'), (dict(topk=0), 'topk'), (dict(quality_alpha=1.5), 'quality_alpha')])
def test_bad_arguments(arguments, word):
    for loss in (PGDClsLoss, PGDRegLoss):
        with pytest.raises(ValueError, match=word):
            loss(**arguments)


def test_beta_follows_alpha():
    assert PGDClsLoss(alpha=.04).beta == .02 and PGDClsLoss(alpha=.04, beta=0.).beta == 0
