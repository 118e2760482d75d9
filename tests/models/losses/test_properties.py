"""What every registered loss must keep, in one suite.

The losses are found in the registry. A new loss needs one line in ``cases.ENTRIES``.
"""
import copy
import pickle
from pathlib import Path

import pytest
import torch

from .cases import ELSEWHERE, ENTRIES, REGISTERED, VARIANTS, Case
from .given import labels_for

every_loss = pytest.mark.parametrize('name, variant', VARIANTS)


def close(one, other, rtol=1e-5):
    for a, b in zip(one, other, strict=True):
        scale = float(b.abs().max())
        torch.testing.assert_close(a.double(), b.double(), rtol=rtol, atol=rtol * scale)


def test_every_loss_is_here():
    missing = [name for name in REGISTERED if name not in ENTRIES and name not in ELSEWHERE]
    assert not missing, (
        f'{missing} are registered but not in ENTRIES of tests/models/losses/cases.py: add a line '
        'with the constructor arguments to try and what forward() gets besides the two maps')
    assert not {*ENTRIES, *ELSEWHERE} - set(REGISTERED), 'ENTRIES names a loss that is not there'
    assert all((Path(__file__).parent / file).exists() for file in ELSEWHERE.values())


@every_loss
def test_identical_inputs_give_zero(name, variant):
    case = Case(name, variant, dtype=torch.float64)
    different, _ = case.finite()
    same, gradient = case.finite(teacher=case.student.clone())
    assert different > 1e-9
    assert case.entry.identical != 'zero' or abs(same) <= 1e-10 * max(1, different)
    assert case.entry.identical == 'any' or gradient.abs().max() <= 1e-9


@every_loss
def test_gradient_reaches_the_student_only(name, variant):
    case = Case(name, variant)
    student, teacher = case.student.requires_grad_(), case.teacher.requires_grad_()
    case.compute(case.loss, student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 0 and torch.isfinite(student.grad).all()


@every_loss
def test_gradient_is_that_of_the_value(name, variant):
    case = Case(name, variant, (2, 3, 4, 4), dtype=torch.float64)
    student, (_, gradient) = case.student.clone(), case.run()
    step = 1e-6
    for index in ((0, 0, 0, 0), (1, 2, 3, 1), (0, 1, 2, 2)):
        values = []
        for sign in (1, -1):
            moved = student.clone()
            moved[index] += sign * step
            values.append(case.run(moved, grad=False)[0])
        slope = float(values[0] - values[1]) / (2 * step)
        assert float(gradient[index]) == pytest.approx(
            slope, rel=1e-5, abs=1e-7 * float(gradient.abs().max()) + 1e-9)


@every_loss
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, variant, dtype):
    case = Case(name, variant, dtype=dtype)
    value, gradient = case.finite()
    assert torch.finfo(value.dtype).bits >= 32
    wide = case.run(case.student.detach().float(), case.teacher.float())
    torch.testing.assert_close(value, wide[0], rtol=1e-5, atol=1e-7)
    # the gradient is rounded to the input's type once, at the end
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(gradient.float(), wide[1], rtol=2 * eps,
                               atol=max(1e-4 * float(wide[1].abs().max()), 2 ** -24))


@every_loss
def test_autocast_changes_nothing(name, variant):
    case = Case(name, variant)
    plain = case.run()
    with torch.autocast('cpu', torch.bfloat16):
        close(case.run(), plain)
        half = case.finite(case.student.detach().bfloat16(), case.teacher.bfloat16())
    close(half, case.run(case.student.detach().bfloat16(), case.teacher.bfloat16()))


@every_loss
def test_memory_layout_does_not_matter(name, variant):
    case = Case(name, variant)
    expected = case.run()
    student, teacher = case.student.detach(), case.teacher
    for layout in (lambda x: x.contiguous(memory_format=torch.channels_last),
                   lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
                   lambda x: torch.stack([x, x], -1)[..., 0],
                   lambda x: torch.cat([x, x], 1)[:, :x.shape[1]]):
        assert torch.equal(layout(student), student) and not layout(student).is_contiguous()
        close(case.run(layout(student), layout(teacher)), expected)


@every_loss
def test_inputs_are_not_changed(name, variant):
    case = Case(name, variant)
    student, teacher = case.student.clone(), case.teacher.clone()
    others = copy.deepcopy(case.others)
    case.run()
    assert torch.equal(case.student, student) and torch.equal(case.teacher, teacher)
    torch.testing.assert_close(case.others, others, rtol=0, atol=0)


@every_loss
@pytest.mark.parametrize('shape, other', [
    ((1, 4, 6, 5), None), ((2, 1, 6, 5), None), ((1, 1, 1, 1), None), ((2, 4, 1, 1), None),
    ((2, 4, 6, 5), (2, 4, 3, 4)), ((2, 4, 3, 4), (2, 4, 6, 5)), ((2, 4, 5, 4), (2, 4, 4, 5)),
    ((1, 4, 33, 17), None),
], ids=str)
def test_shapes(name, variant, shape, other):
    Case(name, variant, shape, other).finite()


def _constant(x):
    x[:, 0] = 0.5


def _zero_sample(x):
    x[0] = 0


def _all_zero(x):
    x[:] = 0


def _large(x):
    x *= 1e4


def _tiny(x):
    x *= 1e-25


def _one_hot(x):
    x[:] = -1e4
    x[:, 1] = 1e4


@every_loss
@pytest.mark.parametrize('change', [_constant, _zero_sample, _all_zero, _large, _tiny, _one_hot])
@pytest.mark.parametrize('side', ['student', 'teacher', 'both'])
def test_awkward_values(name, variant, change, side):
    case = Case(name, variant)
    for key in ('student', 'teacher') if side == 'both' else (side,):
        change(getattr(case, key))
    case.finite()


@pytest.mark.parametrize('name, variant', [
    (name, i) for name, i in VARIANTS if ENTRIES[name].others is labels_for])
@pytest.mark.parametrize('ignored', [255, -1])
def test_all_pixels_ignored_is_zero(name, variant, ignored):
    case = Case(name, variant)
    labels = torch.full_like(case.others['labels'], ignored)
    value, gradient = case.finite(labels=labels)
    assert value == 0 and not gradient.any()
    labels[0, 0:2, 0:2] = 1  # one pixel of one image left
    case.finite(labels=labels)


@every_loss
@pytest.mark.parametrize('shape, other', [
    ((0, 4, 6, 5), None), ((2, 4, 0, 5), None), ((2, 4, 0, 0), (2, 4, 6, 5)),
    ((2, 4, 6, 5), (2, 4, 0, 5)),
], ids=str)
def test_an_empty_batch_is_zero_with_a_graph(name, variant, shape, other):
    value, gradient = Case(name, variant, shape, other).run()
    assert value == 0 and not gradient.any()


@every_loss
@pytest.mark.parametrize('side', ['student', 'teacher', 'both'])
@pytest.mark.parametrize('tokens', [True, False], ids=['tokens', 'vectors'])
def test_what_is_no_map_is_told_in_words(name, variant, side, tokens):
    case = Case(name, variant)
    if not tokens and side == 'both' and getattr(case.loss, 'rows', False):
        case.student, case.teacher = case.student.mean((2, 3)), case.teacher.mean((2, 3))
        case.finite()  # two vectors are rows of RoIs for it
        return
    for key in ('student', 'teacher') if side == 'both' else (side,):
        x = getattr(case, key)
        setattr(case, key, x.flatten(2).transpose(1, 2) if tokens else x.mean((2, 3)))
    with pytest.raises(ValueError) as info:
        case.run()
    for part in (name, 'teacher' if side == 'teacher' else 'student', '(N, C, H, W)',
                 'tokens (N, L, C)' if tokens else 'tap a'):
        assert part in str(info.value)


@every_loss
def test_other_images_are_refused(name, variant):
    case = Case(name, variant)
    with pytest.raises(ValueError, match='images'):
        case.run(teacher=case.teacher[:1])


@every_loss
def test_value_does_not_depend_on_grad_mode(name, variant):
    case = Case(name, variant)
    expected = case.run()[0]
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(case.run(grad=False)[0].clone(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(case.run(grad=False)[0], expected, rtol=1e-6, atol=0)


@every_loss
def test_copies_and_pickles(name, variant):
    case = Case(name, variant)
    expected = case.run()
    assert repr(case.loss)
    for twin in (copy.deepcopy(case.loss), pickle.loads(pickle.dumps(case.loss))):
        case.loss = twin
        assert all(torch.equal(a, b) for a, b in zip(case.run(), expected, strict=True))
    torch.manual_seed(1)
    first = case.compute(case.loss, case.student, case.teacher)
    copy.deepcopy(case.loss), pickle.dumps(case.loss)  # also after use
    torch.testing.assert_close(first, expected[0], check_dtype=False)


@every_loss
def test_state_loads(name, variant):
    case, other = Case(name, variant), Case(name, variant, seed=9)
    other.loss.load_state_dict(case.loss.state_dict())
    case.student, case.teacher = other.student, other.teacher
    assert all(torch.equal(a, b) for a, b in zip(case.run(), other.run(), strict=True))
