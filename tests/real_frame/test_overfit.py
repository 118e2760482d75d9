"""mmkd.BEVDet learns the real frame; ``python -m tests.real_frame.overfit`` does it to the end."""
import numpy as np
import pytest
import torch

from tests.real_frame.frame import MISSING
from tests.real_frame.overfit import SMALL, build, found, pictures, predict, train

pytestmark = [pytest.mark.slow, pytest.mark.skipif(MISSING is not None, reason=MISSING or '')]


def test_the_losses_fall():
    torch.manual_seed(0)
    model, item = build(SMALL)
    history = train(model, item, 16, report=None)
    assert np.isfinite(history).all() and history[-1] < .5 * history[0]
    gaps, _ = found(predict(model, item), item['data_samples'].gt_instances_3d)
    assert len(gaps) == 50  # of 69 annotations, those with LiDAR points inside the grid


def test_the_frame_is_drawn_whole():
    item = pictures()
    assert item['inputs']['img'].shape == (6, 3, 450, 800)
    np.testing.assert_allclose(np.diag(item['data_samples'].img_aug_matrix[0]), [.5, .5, 1, 1])
