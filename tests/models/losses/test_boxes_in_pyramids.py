"""Boxes in a pyramid: their level, their cells, and how much they overlap."""
import numpy as np
import pytest
import torch

from mmkd.models.losses.boxes import covered, overlaps, pyramid_levels, truncated_ranges
from tests.golden.handmade_region import iou, level_of, object_cells


def test_a_box_belongs_to_the_level_of_its_size():
    edges = [[0., 0., side - 1, side - 1] for side in (1, 55, 56, 111, 112, 223, 224, 448, 9999)]
    assert pyramid_levels(torch.tensor(edges), 4).tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 3]
    assert pyramid_levels(torch.tensor(edges), 1).tolist() == [0] * 9
    random = torch.rand(50, 4) * 400
    random[:, 2:] += random[:, :2]
    assert pyramid_levels(random, 3).tolist() == [level_of(box, 3) for box in random.tolist()]
    assert pyramid_levels(torch.zeros(0, 4), 3).shape == (0,)
    assert pyramid_levels(torch.tensor([[9., 9., 1., 1.]]), 3).tolist() == [0]  # inside out


def drawn(boxes, stride, size, wrap=False):
    ranges = truncated_ranges(torch.tensor(boxes).reshape(-1, 4), stride, size, wrap)
    return covered(ranges, size).any(0).double().numpy()


@pytest.mark.parametrize('size', [(8, 8), (1, 8), (8, 1)], ids=str)
def test_cells_are_those_of_the_official_slices(size):
    random = np.random.default_rng(0)
    height, width = (8 * side for side in size)
    for _ in range(100):
        low = random.uniform(0, 1, 2) * (width - 1e-3, height - 1e-3)
        high = low + random.uniform(0, .6, 2) * (width, height) * random.integers(0, 2, 2)
        box = np.float32([*low, *high]).tolist()
        for wrap in (False, True):
            assert (drawn([box], 8, size, wrap) == object_cells([box], 8, size)).all()


def test_boxes_left_of_and_above_the_map_wrap_around_only_if_asked():
    boxes = [[-30., 4., -20., 30.], [4., -40., 30., -20.], [-60., -60., -20., -20.]]
    for box in boxes:
        assert not drawn([box], 8, (8, 8)).any()
        assert (drawn([box], 8, (8, 8), wrap=True) == object_cells([box], 8, (8, 8))).all()
    assert drawn(boxes[:1], 8, (8, 8), wrap=True).any()


@pytest.mark.parametrize('wrap', [True, False])
@pytest.mark.parametrize('box', [[64., 0., 64., 9.], [70., 70., 90., 90.], [0., 64., 9., 64.]])
def test_boxes_right_of_and_below_the_map_have_no_cells(box, wrap):
    assert not drawn([box], 8, (8, 8), wrap).any()


@pytest.mark.parametrize('plus_one', [False, True])
def test_overlaps(plus_one):
    one = torch.rand(6, 4, dtype=torch.float64) * 20
    one[:, 2:] += one[:, :2]
    other = torch.tensor([[3., 3., 20., 20.], [5., 5., 5., 5.], [-9., -9., -2., -2.]]).double()
    expected = [[iou(a, b, float(plus_one)) for b in other.tolist()] for a in one.tolist()]
    torch.testing.assert_close(overlaps(one, other, plus_one), torch.tensor(expected).double())
    point = torch.zeros(1, 4)
    assert overlaps(point, point, plus_one).item() == float(plus_one)  # never 0 / 0
