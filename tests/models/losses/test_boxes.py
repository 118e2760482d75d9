"""Boxes drawn on maps, cell by cell."""
import math

import pytest
import torch

from mmkd.models.losses.boxes import (
    areas,
    background_share,
    cell_ranges,
    covered,
    foreground_share,
    on_map,
)

SIZE = (4, 6)
NAN, INF = math.nan, math.inf


def drawn(*boxes, **kwargs):
    ranges = cell_ranges(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), SIZE)
    return foreground_share(ranges, SIZE, **kwargs)


def by_hand(boxes):
    """FGD's rule with loops: the largest 1 / area at each cell, areas counted on the map."""
    share = torch.zeros(SIZE)
    for x0, y0, x1, y1 in boxes:
        cells = [(y, x) for y in range(SIZE[0]) for x in range(SIZE[1])
                 if math.floor(x0) <= x <= math.ceil(x1) and math.floor(y0) <= y <= math.ceil(y1)]
        for cell in cells:
            share[cell] = max(share[cell], 1 / len(cells))
    return share


def test_pixels_become_cells():
    boxes = torch.tensor([[0., 0., 64., 32.], [8., 4., 16., 20.]])
    assert on_map(boxes, (32, 64), SIZE).tolist() == [[0, 0, 6, 4], [0.75, 0.5, 1.5, 2.5]]
    assert on_map(boxes.half(), (32, 64), SIZE).dtype == torch.float32
    assert on_map(boxes[:0], (32, 64), SIZE).shape == (0, 4)


@pytest.mark.parametrize('boxes', [
    [],
    [(0.5, 0.5, 1.5, 2.)],
    [(0, 0, 2, 2), (1, 1, 4.5, 3)],  # overlapping
    [(2.2, 1.3, 2.2, 1.3)], [(2, 1, 2, 1)], [(2, 1, 3.5, 1)],  # zero size
    [(0, 0, 6, 4)], [(-9, -9, 99, 99), (1, 1, 2, 2)],  # the whole map
    [(-5, -5, -2.5, -3)], [(7, 1, 9, 2)], [(1, 8, 2, 9)],  # outside
    [(-3, -2, 1.5, 0.5)], [(4.5, 2.5, 9, 9)],  # partly outside
    [(-3, 1, -2, 2), (0, 0, 0.1, 0.1)],
], ids=str)
def test_shares_are_those_of_the_cells_on_the_map(boxes):
    torch.testing.assert_close(drawn(*boxes), by_hand(boxes))


def test_a_box_alone_weighs_one():
    for box in ((0.2, 0.2, 0.4, 0.3), (0, 0, 6, 4), (-1, -1, 7, 5), (3, 2, 3, 2), (5.9, 3.9, 6, 4)):
        assert drawn(box).sum().item() == pytest.approx(1)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.int64])
def test_no_share_is_lost_to_integer_division(dtype):
    boxes = on_map(torch.tensor([[0, 0, 32, 16], [3, 3, 3, 3]], dtype=dtype), (32, 64), SIZE)
    share = foreground_share(cell_ranges(boxes, SIZE), SIZE)
    assert share.is_floating_point() and (share[:3, :4] > 0).all()
    assert 0 < background_share(share).max() < 1


@pytest.mark.parametrize('box', [(NAN, 0, 2, 2), (0, 0, NAN, NAN), (INF, INF, INF, INF),
                                 (-INF, -INF, -INF, -INF), (3, 3, 1, 1)], ids=str)
def test_a_box_that_is_none_covers_nothing(box):
    assert torch.equal(drawn(box, (0, 0, 1, 1)), drawn((0, 0, 1, 1)))


def test_an_endless_box_covers_all():
    assert torch.equal(drawn((-INF, -INF, INF, INF)), torch.full(SIZE, 1 / 24))


def test_other_areas():
    share = drawn((0, 0, 1, 1), (4, 0, 4, 0), cells=torch.tensor([100., 0.]))
    assert share[0, 0] == 0.01 and share[0, 4] == 1


def test_background():
    share = background_share(drawn((0, 0, 3, 3)))
    assert share.sum() == 1 and torch.equal(share[:, 4:], torch.full((4, 2), 1 / 8))
    assert torch.equal(background_share(torch.zeros(SIZE)), torch.full(SIZE, 1 / 24))
    assert not background_share(drawn((0, 0, 6, 4))).any()


def test_which_cells_of_which_box():
    ranges = torch.tensor([[0., 0., 2., 1.], [1., 1., 1., 3.]])
    inside = covered(ranges, (2, 3))
    assert inside.tolist() == [[[True, True, False], [False] * 3], [[False] * 3] * 2]
    assert areas(ranges).tolist() == [2, 0]
