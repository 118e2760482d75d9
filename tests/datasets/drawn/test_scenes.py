"""The drawn scenes: sizes, label values, classes, determinism."""
import cv2
import numpy as np
import pytest

from mmkd.datasets.drawn import draw_object_scene, draw_street_scene
from mmkd.datasets.drawn.canvas import Canvas
from mmkd.datasets.drawn.layouts import voc_palette
from mmkd.datasets.drawn.objects.scenes import OBJECTS
from mmkd.datasets.drawn.trees import scene_rng

STREET_IDS, VOC_IDS = {*range(19), 255}, {*range(21), 255}


@pytest.mark.parametrize('draw, legal', [(draw_street_scene, STREET_IDS),
                                         (draw_object_scene, VOC_IDS)])
@pytest.mark.parametrize('size', [(96, 48), (50, 70), (33, 32)])
def test_size_and_label_values(draw, legal, size):
    for seed in range(3):
        image, labels = draw(np.random.default_rng(seed), *size)
        assert image.shape == (size[1], size[0], 3) and image.dtype == np.uint8
        assert labels.shape == image.shape[:2] and labels.dtype == np.uint8
        assert set(np.unique(labels).tolist()) <= legal


@pytest.mark.parametrize('draw', [draw_street_scene, draw_object_scene])
def test_same_seed_same_bytes_other_seed_other_picture(draw):
    first, second, other = (draw(np.random.default_rng([seed, 0, 5])) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


def test_street_classes_occur():
    pictures = [np.unique(draw_street_scene(scene_rng(0, 'train', i), 128, 64)[1])
                for i in range(80)]
    seen = np.bincount(np.concatenate(pictures), minlength=256)
    assert (seen[:19] > 0).all(), f'never drawn: {np.flatnonzero(seen[:19] == 0)}'
    common = [0, 1, 2, 5, 8, 10, 11, 13]  # road ... car
    assert (seen[common] > 40).all()
    assert seen[255] > 0


@pytest.mark.parametrize('name', OBJECTS)
def test_each_voc_class_can_be_asked_for(name):
    label = 1 + list(OBJECTS).index(name)
    drawn = [draw_object_scene(np.random.default_rng(i), first=name)[1] for i in range(6)]
    assert sum((labels == label).sum() > 20 for labels in drawn) >= 3


def test_voc_classes_are_those_of_mmseg():
    from mmseg.datasets import PascalVOCDataset
    assert ('background', *OBJECTS) == PascalVOCDataset.METAINFO['classes']
    assert voc_palette()[:21].tolist() == PascalVOCDataset.METAINFO['palette']


def test_voc_objects_have_a_ring_of_ignored_pixels():
    """No two different classes touch: 255 lies between them."""
    for seed in range(10):
        labels = draw_object_scene(np.random.default_rng(seed))[1].astype(int)
        for a, b in ((labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])):
            assert not ((a != b) & (a != 255) & (b != 255)).any()


def test_labels_sit_under_the_image_edges():
    """A flat shape: pixels well inside or outside have the pure colour of their label."""
    canvas = Canvas(64, 64, 0)
    canvas.ellipse((31.3, 30.6), (17.2, 11.9), (200, 200, 200), 7)
    image, labels = canvas.finish()
    core = cv2.erode((labels == 7).astype(np.uint8), np.ones((3, 3))) > 0
    near = cv2.dilate((labels == 7).astype(np.uint8), np.ones((3, 3))) > 0
    assert (image[core] == 200).all() and (image[~near] == 0).all()
    covered = image[..., 0] / 200  # the label is that of most of the pixel
    assert ((covered > 0.7) <= (labels == 7)).all() and ((covered < 0.3) <= (labels == 0)).all()
    assert abs((labels == 7).sum() - np.pi * 17.2 * 11.9) < 12


def test_unknown_class_is_refused():
    with pytest.raises(ValueError, match='unicorn'):
        draw_object_scene(np.random.default_rng(0), first='unicorn')
