"""Maps of features as pictures: each cell where it lies in metres."""
import numpy as np
import pytest
import torch

from mmkd.visualization.features import SIZE, energy_picture
from mmkd.visualization.scenes import is_scene, range_of
from tests.detectors3d import bev_batch, centerpoint

AREA = (-18., -18., -5., 18., 18., 3.)  # 10 pixels a metre


def bright(picture):
    """(left, top, right, bottom) in pixels of what is brighter than the rest."""
    rows, columns = (picture.sum(-1) > picture.sum(-1).mean() + 50).nonzero()
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize('metres', [None, (-18., -18., 18., 18.), (-20., -30., 16., 24.)])
@pytest.mark.parametrize(('i', 'j'), [(11, 7), (4, 10)])
def test_a_cell_is_drawn_where_it_lies(metres, i, j):
    """x to the right, y upwards, whatever range and cells the map has."""
    x = torch.full((3, 18, 18), .1)
    x[:, j, i] = 4.
    picture = energy_picture(x, metres, AREA)
    assert picture.shape == (SIZE, SIZE, 3) and SIZE == 360
    left, low, right, high = metres or (-18., -18., 18., 18.)
    across, along = (right - left) / 18, (high - low) / 18
    expected = ((left + i * across + 18) * 10, (18 - low - (j + 1) * along) * 10,
                (left + (i + 1) * across + 18) * 10, (18 - low - j * along) * 10)
    np.testing.assert_allclose(bright(picture), expected, atol=1)


def test_a_map_that_is_the_same_everywhere_has_one_colour():
    assert len(np.unique(energy_picture(torch.ones(2, 4, 4), None, AREA).reshape(-1, 3),
                         axis=0)) == 1


def test_boxes_of_lidar_make_a_scene():
    batch = bev_batch()
    assert is_scene(dict(data_samples=batch['data_samples'][0]))
    batch['data_samples'][0].set_metainfo(dict(box_type_3d=None))
    assert not is_scene(dict(data_samples=batch['data_samples'][0]))
    assert range_of(dict(point_cloud_range=[1.] * 6)) == (1.,) * 6
    assert range_of(centerpoint())[3] == 51.2
