"""Learning curves: what is averaged, and what is left out."""
import math

import cv2

from mmkd.visualization import draw_curves
from mmkd.visualization.curves import mean_and_band


def test_mean_and_band_by_hand():
    seeds = [{10: 1., 20: 4.}, {10: 3., 20: 4., 30: 9.}]
    assert mean_and_band(seeds) == ([10, 20], [2., 4.], [math.sqrt(2.), 0.])
    assert mean_and_band([{5: 2.}]) == ([5], [2.], [0.])
    assert mean_and_band([{}, {5: 2.}]) == ([5], [2.], [0.])


def width(path):
    return cv2.imread(str(path)).shape[1]


def test_a_panel_with_one_value_is_left_out(tmp_path):
    """Where the evaluation comes only at the end there is no metric to draw over time."""
    loss = {'student': [{1: 3., 2: 2.}, {1: 3.5, 2: 2.5}], 'kd': [{1: 300., 2: 1.}]}
    one = draw_curves(str(tmp_path / 'one.png'), {'mIoU': {'student': [{2: 9.}]}, 'loss': loss})
    both = draw_curves(str(tmp_path / 'both.png'), {
        'mIoU': {'student': [{1: 5., 2: 9.}]}, 'loss': loss}, {'mIoU': {'teacher': 70.}}, 'title')
    assert width(both) == 2 * width(one)
    assert cv2.imread(one).std() > 5
    nothing = {'mIoU': {'student': [{2: 9.}], 'kd': []}}
    assert draw_curves(str(tmp_path / 'none.png'), nothing) is None
    assert not (tmp_path / 'none.png').exists()
