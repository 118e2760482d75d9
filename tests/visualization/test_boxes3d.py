"""3D boxes in the images and from above."""
import cv2
import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes

from mmkd.visualization import draw_scene
from mmkd.visualization.boxes3d import (
    GROUP_COLOURS,
    draw_from_above,
    draw_in_image,
    scene_picture,
)
from tests.models.bev.rigs import SIZE, augmented, cameras_of, rig

RANGE = (-20., -20., -5., 20., 20., 3.)


def corners(*box):
    return LiDARInstance3DBoxes(torch.tensor([box]), origin=(.5, .5, .5)).corners.numpy()


@pytest.mark.parametrize('meta', [rig(), augmented(rig(), 1)])
def test_a_box_is_drawn_where_its_corners_project(meta):
    cameras = cameras_of(meta)
    box = corners(1., 12., -.5, 2., 1.5, 1., .7)
    moved = torch.from_numpy(box[0]).double() @ cameras.lidar_aug[0, :3, :3].T
    pixels, _ = cameras.project(moved[None])
    image = np.zeros((*SIZE, 3), np.uint8)
    draw_in_image(image, moved[None].numpy(), cameras, 0, (255, 0, 0))
    rows, columns = image[..., 0].nonzero()
    low, high = pixels[0, 0].amin(0), pixels[0, 0].amax(0)
    assert low.min() > 2 and high[0] < SIZE[1] - 2 and high[1] < SIZE[0] - 2
    for found, expected in ((columns.min(), low[0]), (columns.max(), high[0]),
                            (rows.min(), low[1]), (rows.max(), high[1])):
        assert abs(found - float(expected)) < 1.6  # lines are antialiased
    other = np.zeros((*SIZE, 3), np.uint8)
    draw_in_image(other, moved[None].numpy(), cameras, 3, (255, 0, 0))  # it looks away
    assert not other.any()


def test_a_box_around_a_camera_does_not_break_it():
    image = np.zeros((*SIZE, 3), np.uint8)
    draw_in_image(image, corners(0., 0., 0., 4., 4., 3., 0.), cameras_of(rig()), 0, (255, 0, 0))
    draw_in_image(image, np.zeros((0, 8, 3)), cameras_of(rig()), 0, (255, 0, 0))


def test_the_map_has_x_to_the_right_and_y_upwards():
    box = corners(10., 5., 0., 4., 2., 1., 0.)
    picture = draw_from_above([('', box, (255, 0, 0))], RANGE, None, 400)
    rows, columns = (picture[..., 1] < 128).nonzero()  # 10 pixels for each metre
    assert (columns.min(), columns.max()) == pytest.approx((280, 320), abs=1)
    assert (rows.min(), rows.max()) == pytest.approx((140, 160), abs=1)
    # the line from the middle to the front: along x
    line = (picture[150, :, 1] < 128).nonzero()[0]
    assert 299 <= line[(line > 285) & (line < 315)].min() <= 301


def test_points_are_in_the_map():
    picture = draw_from_above([], RANGE, np.array([[10.05, 5.05, 0.], [99., 0., 0.]]), 400)
    assert picture[149, 300].tolist() == [120] * 3


def test_a_scene_is_one_picture(tmp_path):
    images = [np.full((*SIZE, 3), i, np.uint8) for i in range(6)]
    box = corners(1., 12., -.5, 2., 1.5, 1., .7)
    path = draw_scene(str(tmp_path / 'scene.png'), images, cameras_of(rig()),
                      {'true': box, 'predicted': box + .5}, RANGE, np.zeros((5, 4)))
    picture = cv2.imread(path)[..., ::-1]
    assert picture.shape == (2 * 64 + 6, 3 * 182 - 6 + 6 + 134, 3)
    for colour in GROUP_COLOURS[:2]:
        assert (picture == colour).all(-1).any()
    with pytest.raises(ValueError, match='groups'):
        draw_scene(path, images, cameras_of(rig()), dict.fromkeys('abcdef', box), RANGE)
    with pytest.raises(OSError, match='could not be written'):
        draw_scene(str(tmp_path / 'none' / 'x.png'), images, cameras_of(rig()), {}, RANGE)


def has(picture, colour):
    """Lines are antialiased."""
    return (np.abs(picture.astype(int) - colour).max(-1) < 90).any()


def test_the_map_may_be_below_the_images_or_alone():
    images = [np.full((*SIZE, 3), i, np.uint8) for i in range(6)]
    box = corners(1., 12., -.5, 2., 1.5, 1., .7)
    below = scene_picture(images, cameras_of(rig()), {'true': box}, RANGE, below=True)
    width = 3 * 182 - 6
    assert below.shape == (2 * 64 + 6 + 6 + width, width, 3)
    alone = scene_picture([], None, {'true': box}, RANGE, np.zeros((5, 4)))
    for picture in (below[-width:], alone):
        assert picture.shape[0] == picture.shape[1]
        assert has(picture, GROUP_COLOURS[0])


def test_the_ground_may_be_a_picture():
    ground = np.full((100, 100, 3), 7, np.uint8)
    picture = draw_from_above([('', corners(0., 0., 0., 4., 2., 1., 0.), (255, 0, 0))], RANGE,
                              None, 100, ground)
    assert (picture[:20] == 7).all() and has(picture, (255, 0, 0))
    assert (ground == 7).all()
