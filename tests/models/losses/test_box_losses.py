"""What every loss on a detector's predictions must keep, on every head that it is for."""
import copy

import pytest
import torch

from mmkd.models.libraries.mmdet_heads import dense_head
from mmkd.models.losses.box.predictions import quality_bce
from mmkd.registry import MODELS
from tests.dense_heads import BOXES, Detector, build_head, samples

ONE, NOTHING = ([], BOXES[1]), ([], [])
#: name -> (loss, head, options of the head, arguments of the loss)
SETUPS = {
    'LD': ('LDLoss', 'GFLHead', {}, {}),
    'LD, paper': ('LDLoss', 'GFLHead', {}, dict(diou='union')),
    'LD, main': ('LDLoss', 'GFLHead', {}, dict(vlr_weight=0, cls_weight=0)),
    'BCKD': ('BCKDLoss', 'GFLHead', {}, {}),
    'BCKD, all levels': ('BCKDLoss', 'GFLHead', {}, dict(positive_levels_only=False)),
    'BCKD, RetinaNet': ('BCKDLoss', 'RetinaHead', {}, {}),
    'CrossKD, GFL': ('CrossKDLoss', 'GFLHead', {}, dict(reg_weight=4.)),
    'CrossKD, RetinaNet': ('CrossKDLoss', 'RetinaHead', {}, {}),
    'CrossKD, ATSS': ('CrossKDLoss', 'ATSSHead', {}, {}),
    'CrossKD, FCOS': ('CrossKDLoss', 'FCOSHead', {}, {}),
    'CrossKD, FCOS normed': ('CrossKDLoss', 'FCOSHead', dict(norm_on_bbox=True), {})}
every_setup = pytest.mark.parametrize('name', SETUPS)


class Case:
    """A loss with a student's and a teacher's predictions, dicts of pyramids."""

    def __init__(self, name, boxes=BOXES, size=(64, 64), dtype=torch.float32, **others):
        loss, head, options, arguments = SETUPS[name]
        self.loss = MODELS.build(dict(arguments, type=f'mmkd.{loss}', **others))
        self.head = build_head(head, **options)
        view = dense_head(Detector(bbox_head=self.head))
        images = len(boxes)
        self.student, self.teacher = (self.predict(view, images, size, seed, dtype)
                                      for seed in (1, 2))
        bound = view.bind(samples(boxes, size=size))
        self.extras = dict(student_head=bound)
        if loss == 'LDLoss':
            self.extras['boxes'] = [torch.tensor(box).reshape(-1, 4) for box in boxes]
        else:
            self.extras['teacher_head'] = view

    @staticmethod
    def predict(view, images, size, seed, dtype):
        features = [torch.randn(images, 8, -(-size[0] // stride), -(-size[1] // stride),
                                generator=torch.Generator().manual_seed(seed * 10 + i))
                    for i, stride in enumerate(view.strides)]
        with torch.no_grad():
            outputs = view.rest(features, features, after=0)
        return {key: [x.to(dtype) for x in levels] for key, levels in outputs.items()}

    def run(self):
        """(value, {tap: gradients per level}); both sides want a gradient."""
        leaves, sides = {}, []
        for side in (self.student, self.teacher):
            given = {key: [x.detach().clone().requires_grad_() for x in levels]
                     for key, levels in side.items()}
            sides.append(given)
        leaves = sides[0]
        parts = self.loss(*sides, **self.extras)
        assert all(part.shape == () and part.requires_grad for part in parts.values())
        sum(parts.values()).backward()
        assert all(x.grad is None for levels in sides[1].values() for x in levels)
        gradients = {key: [torch.zeros_like(x) if x.grad is None else x.grad for x in levels]
                     for key, levels in leaves.items()}
        return {key: part.detach() for key, part in parts.items()}, gradients

    def finite(self):
        parts, gradients = self.run()
        assert all(part.isfinite() and part >= -1e-5 for part in parts.values()), parts
        assert all(x.isfinite().all() for levels in gradients.values() for x in levels)
        return parts, gradients

    def change(self, function, *sides):
        for side in sides or ('student', 'teacher'):
            values = getattr(self, side)
            setattr(self, side, {key: [function(x.clone()) for x in levels]
                                 for key, levels in values.items()})


def test_every_loss_is_here():
    registered = {name for name, cls in MODELS.module_dict.items()
                  if cls.__module__.startswith('mmkd.models.losses.box.')}
    assert registered == {setup[0] for setup in SETUPS.values()}


@every_setup
def test_gradient_reaches_the_student_only(name):
    parts, gradients = Case(name).finite()
    assert all(part > 1e-4 for part in parts.values())
    assert any(x.any() for x in gradients['reg'])
    assert any(x.any() for x in gradients['cls']) == (name != 'LD, main')


@every_setup
def test_equal_predictions_leave_no_gradient(name):
    case = Case(name)
    if 'normed' in name:  # boxes without area do not overlap, not even with themselves
        case.student['reg'] = [x.abs() + 0.1 for x in case.student['reg']]
    case.teacher = copy.deepcopy(case.student)
    parts, gradients = case.finite()
    assert all(part < 1e-4 for key, part in parts.items() if key != 'centerness')
    for levels in gradients.values():
        assert all(x.abs().max() < 1e-4 for x in levels)


@every_setup
@pytest.mark.parametrize('boxes', [
    NOTHING, ONE, (BOXES[0],), ([],), ([[-50., -50., -10., -9.], [90., 90., 130., 140.]], []),
    ([[20., 20., 20., 20.], [30., 10., 30., 50.]],), ([[0., 0., 64., 64.]], [[-9., -9., 99., 99.]]),
    ([[8., 8., 40., 40.]] * 3, [])],
    ids=['none', 'none in one', 'one image', 'one image, none', 'outside', 'no size', 'all of it',
         'the same'])
def test_awkward_boxes(name, boxes):
    parts, _ = Case(name, boxes).finite()
    if not any(boxes) and name.startswith('LD'):
        assert not any(parts.values())


@every_setup
@pytest.mark.parametrize('size', [(8, 160), (160, 8), (32, 32), (8, 8)], ids=str)
@pytest.mark.parametrize('boxes', [([[2., 1., 30., 7.]], []), ([],)], ids=['boxes', 'none'])
def test_awkward_sizes(name, size, boxes):
    Case(name, boxes, size).finite()


def constant(x):
    return torch.full_like(x, 0.25)


def one_sided(value):
    def change(x):
        x[:, ::2], x[:, 1::2] = value, -value
        return x
    return change


@every_setup
@pytest.mark.parametrize('change', [constant, one_sided(1e4), one_sided(-90.),
                                    lambda x: x * 1e3, lambda x: x.fill_(-1e4)],
                         ids=['constant', 'extreme', 'large', 'wide', 'nothing'])
@pytest.mark.parametrize('side', ['student', 'teacher', 'both'])
def test_awkward_values(name, change, side):
    case = Case(name)
    case.change(change, *([side] if side != 'both' else []))
    case.finite()


@every_setup
@pytest.mark.parametrize('images, size', [(0, (64, 64)), (2, (0, 64)), (2, (0, 0))], ids=str)
def test_an_empty_batch_is_zero_with_a_graph(name, images, size):
    case = Case(name, ([],) * 2)
    rows, columns = (None if length else 0 for length in size)
    case.change(lambda x: x[:images, :, :rows, :columns])
    parts, gradients = case.finite()
    assert not any(parts.values())
    assert not any(x.any() for levels in gradients.values() for x in levels)


@every_setup
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, dtype):
    case = Case(name, dtype=dtype)
    parts, gradients = case.finite()
    case.change(lambda x: x.float())
    wide, wide_gradients = case.run()
    for key, part in parts.items():
        assert part.dtype == torch.float32
        torch.testing.assert_close(part, wide[key], rtol=1e-5, atol=1e-6)
    for key, levels in gradients.items():
        for x, expected in zip(levels, wide_gradients[key], strict=True):
            torch.testing.assert_close(x.float(), expected, rtol=2 * torch.finfo(dtype).eps,
                                       atol=max(1e-4 * float(expected.abs().max()), 2 ** -24))


@every_setup
def test_autocast_changes_nothing(name):
    case = Case(name)
    plain, gradients = case.run()
    with torch.autocast('cpu', torch.bfloat16):
        parts, others = case.run()
    torch.testing.assert_close(parts, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(others, gradients, rtol=1e-4, atol=1e-6)


@every_setup
def test_a_level_without_positives(name):
    """The small box gives the coarser levels nothing to learn."""
    case = Case(name, ([[20., 20., 50., 50.]], []))
    labels = case.extras['student_head'].assign([(8, 8), (4, 4), (2, 2)]).labels
    level = next(i for i, of_level in enumerate(labels) if not (of_level < 5).any())
    assert (labels[level - 1] < 5).any()
    _, gradients = case.finite()
    taught = any(gradients[key][level].any() for key in ('cls', 'reg'))
    assert taught == (name not in ('LD, main', 'BCKD', 'BCKD, RetinaNet'))


@pytest.mark.parametrize('beta', [0., 0.5, 1., 2.])
def test_the_gradient_of_the_class_scores_is_that_of_the_formula(beta):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
                        for _ in range(2))
    weight = torch.rand(2, 5, generator=generator, dtype=torch.float64)
    student.requires_grad_()
    value = quality_bce(student, teacher, weight, beta)
    p, t = student.sigmoid(), teacher.sigmoid()
    entropy = -(t * p.log() + (1 - t) * (1 - p).log())
    expected = (entropy * (p - t).abs() ** beta * weight[..., None]).sum()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x, student)[0] for x in (value, expected)))
    same = quality_bce(student, student.detach(), weight, beta)
    assert not torch.autograd.grad(same, student)[0].any()


def test_the_official_divisor_of_fcos_without_positives():
    case = Case('CrossKD, FCOS', NOTHING)
    mild = case.run()[0]
    case.loss.min_normaliser = 1e-6
    official = case.run()[0]
    assert all(value == pytest.approx(1e6 * float(mild[key]), rel=1e-4)
               for key, value in official.items())


def test_pyramids_may_have_been_tapped_in_any_memory_layout():
    case = Case('CrossKD, RetinaNet')
    expected = case.run()
    case.change(lambda x: x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(case.run()[0], expected[0])
