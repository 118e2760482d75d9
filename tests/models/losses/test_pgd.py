"""PGD's two losses against loops, with the predictions of mmdet's own heads."""
import numpy as np
import pytest
import torch

from mmkd.models.libraries.mmdet_heads import dense_head
from mmkd.models.losses import PGDClsLoss, PGDRegLoss
from mmkd.models.losses.feature.pgd_weights import weight_maps
from tests.dense_heads import BOXES, TOWERED, Detector, build_head, pyramid
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
        missing = f'{name}: the teacher has no cls, reg .*teacher_tap=dict.feature=.*cls=.*reg='
        with pytest.raises(ValueError, match=missing):
            loss(student, student, *truth, head)
        with pytest.raises(ValueError, match=f'{name}: the student has no feature'):
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
