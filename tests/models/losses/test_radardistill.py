"""RadarDistill: active cells, regions of the heatmaps, and awkward batches."""
import math

import pytest
import torch

from mmkd.models.losses.bev import RadarDistillLoss


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sides(dtype=torch.float32, size=(3, 4), student_size=None):
    small = student_size or size
    student = dict(low=[draw(2, 3, *small, seed=i) for i in range(2)],
                   high=[draw(2, 4, *small, seed=5 + i) for i in range(2)],
                   heatmap=[draw(2, k, *small, seed=9 + k) - 2 for k in (1, 2)])
    teacher = dict(low=draw(2, 3, *size, seed=20), high=[draw(2, 4, *size, seed=25 + i)
                                                         for i in range(2)])
    drawn = [torch.rand(2, k, *small, generator=torch.Generator().manual_seed(k)) for k in (1, 2)]
    student = {key: [x.to(dtype).requires_grad_() for x in maps] for key, maps in student.items()}
    return student, teacher, drawn


def test_low_maps_where_both_see_something_and_where_one_does():
    """Two cells of both, one of the radar alone, one of neither; channels are summed."""
    teacher = torch.tensor([[2., 1., -1., 0.], [0., 0., 0., 0.]])[None, :, None]
    student = torch.tensor([[1., 3., 2., -2.], [0., -1., 0., 0.]])[None, :, None]
    feature, mask = RadarDistillLoss(active=.5, radar_only=.25).activation(student, teacher)
    assert feature.item() == pytest.approx(.5 * (1 + 4 + 1) + .25 * 2 / 1 * 9)
    sums = [(1., 1.), (2., 1.), (2., 0.), (-2., 0.)]
    assert mask.item() == pytest.approx(
        sum(abs(1 / (1 + math.exp(-s)) - seen) for s, seen in sums) / 4, rel=1e-6)


@pytest.mark.parametrize('student, teacher, feature', [
    (-1., 1., 0.), (1., 1., 0.), (-1., -1., 0.), (1., -1., 0.), (0., 0., 0.)],
    ids=['no radar', 'all of both', 'neither', 'radar alone', 'equal to 0'])
def test_cells_of_one_kind_alone_are_finite(student, teacher, feature):
    maps = [torch.full((2, 3, 2, 2), v) for v in (student, teacher)]
    maps[0].requires_grad_()
    found, mask = RadarDistillLoss().activation(*maps)
    (found + mask).backward()
    assert found == feature and torch.isfinite(mask) and torch.isfinite(maps[0].grad).all()


def test_regions_of_the_heatmaps():
    """Drawn, predicted: a hit, a miss, a false one, nothing; and each at the threshold."""
    drawn = torch.tensor([.9, .9, 0., 0., .5, .5, .9, 0.])
    found = torch.tensor([.9, .1, .9, .1, .9, .1, .5, .5]).logit()
    weight = RadarDistillLoss(threshold=.5).weights(
        [drawn[None, None, None]], [found[None, None, None]], (1, 8))
    assert weight.flatten().tolist() == [2.5, 2.5, 1., 0., 0., 0., 0., 0.]


def test_high_maps_are_compared_as_distributions_over_channels():
    student, teacher, drawn = sides()
    loss = RadarDistillLoss()
    weight = loss.weights(drawn, student['heatmap'], (3, 4))[:, 0]
    gap = [(s.softmax(1) - t.softmax(1)).abs().sum(1) for s, t in zip(
        student['high'], teacher['high'], strict=True)]
    expected = 25 * .5 * sum((g * weight).sum() for g in gap)
    torch.testing.assert_close(loss(student, teacher, drawn)['pfd'], expected)
    shifted = dict(student, high=[x + 3. for x in student['high']])
    torch.testing.assert_close(loss(shifted, teacher, drawn)['pfd'], expected)


@pytest.mark.parametrize('sample', [slice(0, 1), slice(None)], ids=['one sample', 'all'])
def test_no_boxes(sample):
    student, teacher, drawn = sides()
    for x in drawn:
        x[sample] = 0
    losses = RadarDistillLoss()(student, teacher, drawn)
    sum(losses.values()).backward()
    assert all(torch.isfinite(x) for x in losses.values())
    assert all(torch.isfinite(x.grad).all() for x in (*student['low'], *student['high']))
    silent = dict(student, heatmap=[x - 1e3 for x in student['heatmap']])
    nothing = RadarDistillLoss()(silent, teacher, [x * 0 for x in drawn])
    assert nothing['pfd'] == 0 and nothing['afd'] > 0


def test_the_teacher_has_no_gradient_and_one_low_map_serves_all():
    student, teacher, drawn = sides()
    teacher['low'].requires_grad_()
    losses = RadarDistillLoss()(student, teacher, drawn)
    sum(losses.values()).backward()
    assert teacher['low'].grad is None
    twice = dict(teacher, low=[teacher['low']] * 2)
    torch.testing.assert_close(RadarDistillLoss()(student, twice, drawn), losses)
    assert all(x.grad is None for x in student['heatmap'])  # a region has no gradient


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher, drawn = sides(dtype)
    wide = {key: [x.detach().float() for x in maps] for key, maps in student.items()}
    losses = RadarDistillLoss()(student, teacher, drawn)
    torch.testing.assert_close(losses, RadarDistillLoss()(wide, teacher, drawn))
    sum(losses.values()).backward()
    assert all(torch.isfinite(x.grad).all() for x in (*student['low'], *student['high']))


def test_maps_of_other_cells_are_compared_on_the_teachers():
    student, teacher, drawn = sides(size=(6, 8), student_size=(3, 4))
    losses = RadarDistillLoss()(student, teacher, drawn)
    assert all(torch.isfinite(x) and x > 0 for x in losses.values())


@pytest.mark.parametrize('change, message', [
    (lambda s, t: s.pop('heatmap'), 'student has no heatmap'),
    (lambda s, t: t.pop('high'), 'teacher has no high'),
    (lambda s, t: s['high'].pop(), '1 levels, teacher 2'),
    (lambda s, t: t.update(low=t['low'][:, :2]), 'channels'),
    (lambda s, t: t.update(low=t['low'][:1]), 'batch of 2')])
def test_what_does_not_fit_is_refused(change, message):
    student, teacher, drawn = sides()
    change(student, teacher)
    with pytest.raises(ValueError, match=message):
        RadarDistillLoss()(student, teacher, drawn)


def test_an_empty_batch_is_zero():
    student, teacher, drawn = sides()
    student, teacher = ({key: [x[:0] for x in maps] if isinstance(maps, list) else maps[:0]
                         for key, maps in side.items()} for side in (student, teacher))
    losses = RadarDistillLoss()(student, teacher, [x[:0] for x in drawn])
    assert all(x == 0 and x.requires_grad for x in losses.values())
