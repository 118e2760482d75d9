"""PGD's weights of places: the Gaussian, and the maps of mmdet's own heads."""
import numpy as np
import pytest
import torch

from mmkd.models.losses.feature.pgd_weights import (
    background_weights,
    gaussian,
    prediction_weights,
    weight_maps,
)
from tests.dense_heads import BOXES, TOWERED, sizes_of

from .test_pgd import AWKWARD, CLASSES, ground_truth, teacher_of


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
