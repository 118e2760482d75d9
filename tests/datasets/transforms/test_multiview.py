"""The image augmentation: matrices and pictures say the same."""
import numpy as np
import pytest

from mmkd.datasets.transforms import MultiViewImageAug
from mmkd.datasets.transforms.multiview import mirroring, resizing, rotation

PICTURE = (90, 160)


def marked(at, size=PICTURE, radius=4.):
    """A picture (H, W, 3), black but for a soft spot with its middle at (u, v)."""
    v, u = np.mgrid[:size[0], :size[1]]
    spot = 255 * np.exp(-((u - at[0]) ** 2 + (v - at[1]) ** 2) / (2 * radius ** 2))
    return np.repeat(spot[..., None], 3, 2).astype(np.uint8)


def middle(image):
    """(u, v) of the middle of the light."""
    light = image[..., 0].astype(float)
    v, u = np.mgrid[:image.shape[0], :image.shape[1]]
    return np.array([(light * u).sum(), (light * v).sum()]) / light.sum()


def results_of(*images, frames=1):
    return dict(img=list(images), img_aug_matrix=[np.eye(4) for _ in images], num_frames=frames)


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('size', [(48, 88), (70, 120), (96, 176)])  # smaller and larger
def test_a_spot_follows_the_matrix(test_mode, size):
    np.random.seed(0)
    aug = MultiViewImageAug(size, resize=(-.1, .2), rotate_degrees=(-20, 20), test_mode=test_mode)
    seen = 0
    for _ in range(30):
        at = np.random.uniform([30, 40], [130, 80])
        results = aug(results_of(marked(at)))
        u, v = (results['img_aug_matrix'][0] @ [*at, 0., 1.])[:2]
        image = results['img'][0]
        assert image.shape == (*size, 3) and image.dtype == np.uint8
        if 14 < u < size[1] - 14 and 14 < v < size[0] - 14:  # all of the spot is in it
            seen += 1
            assert np.abs(middle(image) - (u, v)).max() < .25
    assert seen > 5


def test_cameras_of_a_frame_differ_and_of_two_frames_agree():
    np.random.seed(0)
    aug = MultiViewImageAug((48, 88))
    matrices = aug(results_of(*[marked((80, 45))] * 6, frames=2))['img_aug_matrix']
    for i in range(3):
        np.testing.assert_array_equal(matrices[i], matrices[i + 3])
    assert not np.allclose(matrices[0], matrices[1])


def test_test_mode_draws_nothing():
    aug = MultiViewImageAug((48, 88), test_mode=True)
    images = [aug(results_of(marked((80, 60))))['img'][0] for _ in range(2)]
    np.testing.assert_array_equal(*images)
    matrix = aug(results_of(marked((80, 60))))['img_aug_matrix'][0]
    # 160 -> 88 columns: scale 0.55; 90 -> 50 rows (49.5 rounds to even), the 2 upper ones cut off
    np.testing.assert_allclose(matrix[0, [0, 1, 3]], [.55, 0, (.55 - 1) / 2])
    np.testing.assert_allclose(matrix[1, [0, 1, 3]], [0, 50 / 90, (50 / 90 - 1) / 2 - 2])


def test_the_crop_keeps_the_bottom():
    """Above is sky: crop_height 0 keeps the last row, 0.5 cuts off half of it below."""
    for part, row in ((0., 89), (.25, 67)):
        aug = MultiViewImageAug((40, 160), crop_height=(part, part), test_mode=True)
        matrix = aug(results_of(marked((80, 60))))['img_aug_matrix'][0]
        assert (matrix @ [0, row, 0, 1])[1] == pytest.approx(39, abs=1)


def test_an_existing_matrix_is_kept():
    aug = MultiViewImageAug((48, 88), test_mode=True)
    once = aug(results_of(marked((80, 60))))
    before = once['img_aug_matrix'][0].copy()
    second = MultiViewImageAug((24, 44), test_mode=True)(once)
    np.testing.assert_allclose(second['img_aug_matrix'][0],
                               resizing((48, 88), (44, 24)) @ before)


def test_matrices_by_hand():
    # twice as large: pixel 0 covers 0 and 1, its middle is at 0.5
    assert (resizing((10, 10), (20, 20)) @ [0, 0, 0, 1])[:2].tolist() == [.5, .5]
    assert (mirroring(10) @ [0, 3, 0, 1])[:2].tolist() == [9, 3]
    # a quarter turn from u towards v, about the middle (4.5, 2.5)
    np.testing.assert_allclose((rotation((6, 10), 90) @ [5.5, 2.5, 0, 1])[:2], [4.5, 3.5])


def test_what_is_missing_is_told():
    with pytest.raises(ValueError, match='LoadCameraImages comes before'):
        MultiViewImageAug((48, 88))(dict(img=[marked((80, 60))]))
