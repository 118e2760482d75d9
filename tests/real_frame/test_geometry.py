"""The real frame: a point's pixel and its cell follow every augmentation of the pipeline."""
import copy
import functools

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mmkd.models.bev import LSSViewTransformer
from mmkd.models.bev.geometry import camera_matrices
from tests.real_frame.frame import CAMERAS, MISSING, frame_dataset, frame_info

pytestmark = pytest.mark.skipif(MISSING is not None, reason=MISSING or '')

RANGE, CELL = (-51.2, -51.2, -5., 51.2, 51.2, 3.), .8
SIZE = (256, 704)
LOAD = [dict(type='mmkd.LoadCameraImages', cameras=CAMERAS),
        dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
        dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True)]
#: more of everything than in training, and each alone
IMAGE_AUGS = dict(
    test=dict(test_mode=True), resize=dict(resize=(.1, .3), flip=False, rotate_degrees=(0, 0)),
    crop=dict(resize=(.2, .2), crop_height=(.1, .3), flip=False, rotate_degrees=(0, 0)),
    rotate=dict(resize=(0, 0), flip=False, rotate_degrees=(-20, 20)),
    all=dict(resize=(-.06, .3), crop_height=(0., .2), rotate_degrees=(-20, 20)))
BEV_AUGS = dict(
    none=None, rotate=dict(rot_range=(-1., 1.), scale_ratio_range=(1, 1), flip_x=0, flip_y=0),
    flip_x=dict(rot_range=(0, 0), scale_ratio_range=(1, 1), flip_x=1, flip_y=0),
    flip_y=dict(rot_range=(0, 0), scale_ratio_range=(1, 1), flip_x=0, flip_y=1),
    all=dict(translation_std=(1., 1., .2)))


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet3d')


@functools.cache
def loaded():
    """The frame, read once."""
    return Compose(LOAD)(frame_info())


def run(image, bev, *more, results=None):
    """Results of the pipeline before they are packed."""
    bev = BEV_AUGS[bev]
    return Compose([dict(type='mmkd.MultiViewImageAug', size=SIZE, **IMAGE_AUGS[image]),
                    *([dict(type='mmkd.BEVAug', **bev)] if bev else []),
                    *more])(copy.deepcopy(loaded()) | (results or {}))


def cameras_of(results):
    return camera_matrices([{'lidar_aug_matrix': np.eye(4), **results}])


def raw_pixels(info, points):
    """(u, v) in the pictures as they were taken and depth of points (P, 3), from the file alone."""
    found = {}
    for name in CAMERAS:
        camera = info['images'][name]
        x, y, z = np.array(camera['lidar2cam'])[:3, :3] @ points.T + \
            np.array(camera['lidar2cam'])[:3, 3:]
        k = np.array(camera['cam2img'])
        found[name] = np.stack([k[0, 0] * x / z + k[0, 2], k[1, 1] * y / z + k[1, 2], z], 1)
    return found


def loaded_points():
    return loaded()['points'].tensor[:, :3].numpy().astype(float)


@pytest.mark.parametrize('bev', BEV_AUGS)
@pytest.mark.parametrize('image', IMAGE_AUGS)
def test_a_points_pixel_follows_by_geometry(image, bev):
    """The augmented point in the augmented image is the point's pixel moved with the image."""
    np.random.seed(0)
    results, raw = run(image, bev), raw_pixels(loaded(), loaded_points())
    pixels, depth = cameras_of(results).project(results['points'].tensor[None, :, :3])
    for i, name in enumerate(CAMERAS):
        seen = raw[name][:, 2] > 1
        moved = results['img_aug_matrix'][i][:2, :2] @ raw[name][seen, :2].T + \
            results['img_aug_matrix'][i][:2, 3:]
        near = (np.abs(moved.T - (352, 128)) < (352, 128)).all(1)
        assert near.sum() > 500
        assert np.abs(pixels[0, i].numpy()[seen] - moved.T)[near].max() < .05
        assert np.abs(depth[0, i].numpy()[seen] - raw[name][seen, 2]).max() < 1e-3


@pytest.mark.parametrize('bev', ['none', 'all'])
@pytest.mark.parametrize('image', IMAGE_AUGS)
def test_a_points_pixel_follows_the_picture(image, bev):
    """A spot painted where a point was projected stays where the augmented point projects."""
    raw, chosen, pictures = raw_pixels(loaded(), loaded_points()), {}, []
    random = np.random.default_rng(0)
    for name in CAMERAS:  # one spot in each picture, on a black one, where all crops reach
        u, v, z = raw[name].T
        inside = (z > 3) & (np.abs(u - 800) < 450) & (v > 450) & (v < 620)
        chosen[name] = random.choice(inside.nonzero()[0])
        rows, columns = np.mgrid[:900, :1600]
        at = raw[name][chosen[name]]
        spot = 255 * np.exp(-((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / (2 * 6. ** 2))
        pictures.append(np.repeat(spot[..., None], 3, 2).astype(np.uint8))
    np.random.seed(1)
    results = run(image, bev, results=dict(img=pictures))
    pixels, _ = cameras_of(results).project(results['points'].tensor[None, :, :3])
    checked = 0
    for i, name in enumerate(CAMERAS):
        expected = pixels[0, i, chosen[name]].numpy()
        light = results['img'][i][..., 0].astype(float)
        if not (np.abs(expected - (352, 128)) < (340, 116)).all():
            continue  # out of the image
        rows, columns = np.mgrid[:SIZE[0], :SIZE[1]]
        found = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
        assert np.abs(found - expected).max() < .5, name
        checked += 1
    assert checked >= 3


@pytest.mark.parametrize('bev', BEV_AUGS)
@pytest.mark.parametrize('image', ['test', 'all'])
def test_a_points_cell_follows_the_scene(image, bev):
    """What is lifted at a point's pixel and depth lands in the cell of the augmented point."""
    np.random.seed(2)
    results = run(image, bev)
    cameras, points = cameras_of(results), results['points'].tensor[:, :3]
    pixels, depth = cameras.project(points[None])
    checked = 0
    for i in range(6):
        u, v = pixels[0, i].T
        seen = ((depth[0, i] > 1) & (u >= 0) & (u < SIZE[1]) & (v >= 0) & (v < SIZE[0])).nonzero()
        for index in seen.flatten()[::211]:
            lifted = cameras.cameras(i, i + 1).points(
                pixels[0, i, index].float().view(1, 1, 1, 2),
                depth[0, i, index].float().view(1, 1, 1)).flatten()
            assert ((lifted - points[index])[:2].abs() < CELL / 2).all()
            assert (lifted - points[index]).norm() < .01  # and much nearer than that
            checked += 1
    assert checked > 60


@pytest.mark.parametrize('bev', ['none', 'all'])
def test_the_map_has_it_in_that_cell(bev):
    """Through the view transformer: the cell [y, x] of a feature that is nearest to a point."""
    np.random.seed(3)
    results = run('all', bev)
    cameras, points = cameras_of(results), results['points'].tensor[:, :3]
    pixels, depth = cameras.project(points[None])
    view = LSSViewTransformer(1, 1, (CELL, CELL, 8.), RANGE, (1., 60., .25), stride=16).double()
    checked = 0
    for camera in range(6):
        u, v = pixels[0, camera].T
        off = torch.stack([(x + .5) % 16 - 8 for x in (u, v)]).abs().amax(0)  # from a center
        inside = (points.abs() < torch.tensor([50., 50., 2.9])).all(1)
        at = ((depth[0, camera] > 2) & (depth[0, camera] < 50) & (u > 0) & (u < SIZE[1]) & (v > 0)
              & (v < SIZE[0]) & (off < .7) & inside).nonzero().flatten()[:3]
        for index in at:
            features = torch.zeros(6, 1, 16, 44, dtype=torch.float64)
            column, row = int((u[index] + .5) // 16), int((v[index] + .5) // 16)
            features[camera, 0, row, column] = 1.
            depth_bin = round((float(depth[0, camera, index]) - 1) / .25)
            with torch.no_grad():
                view.depth_net.weight.zero_()
                view.depth_net.bias.zero_()
                view.depth_net.weight[depth_bin, 0] = 1e4
                view.depth_net.weight[-1, 0] = 1.
            bev, _ = view(features, cameras, SIZE)
            (y, x), = bev[0, 0].nonzero().tolist()
            middle = torch.tensor([RANGE[0] + (x + .5) * CELL, RANGE[1] + (y + .5) * CELL])
            # half a cell, and what half a bin and 0.7 pixels of 16 are at that depth
            slack = .125 + 1.5 * float(depth[0, camera, index]) / 500
            assert ((middle - points[index, :2]).abs() < CELL / 2 + slack).all()
            checked += 1
    assert checked >= 12


def test_boxes_move_with_their_points():
    """As many points in each box after the augmentation as before."""
    from mmcv.ops import points_in_boxes_cpu
    np.random.seed(4)
    counts = []
    for bev in ('none', 'all'):
        results = run('test', bev)
        boxes = results['gt_bboxes_3d'].tensor[None, :, :7]
        counts.append(points_in_boxes_cpu(results['points'].tensor[None, :, :3], boxes)[0].sum(0))
    assert counts[0].sum() > 300
    assert (counts[0] - counts[1]).abs().sum() <= 3  # points on a face


@pytest.mark.parametrize('image', ['test', 'all'])
@pytest.mark.parametrize('bev', ['none', 'all'])
def test_depth_supervision_is_the_projected_points(image, bev):
    np.random.seed(5)
    results = run(image, bev, dict(type='mmkd.PointsToDepthMaps', stride=16))
    raw = raw_pixels(loaded(), loaded_points())
    total = 0
    for i, name in enumerate(CAMERAS):
        u, v, z = raw[name].T
        ahead = z > .5
        moved = results['img_aug_matrix'][i][:2, :2] @ np.stack([u, v])[:, ahead] + \
            results['img_aug_matrix'][i][:2, 3:]
        expected = np.zeros((16, 44))
        for (column, row), depth in zip(np.floor(moved.T + .5).astype(int), z[ahead],
                                        strict=True):
            if 1 <= depth < 60 and 0 <= column < 704 and 0 <= row < 256:
                cell = row // 16, column // 16
                expected[cell] = min(expected[cell] or np.inf, depth)
        ours = results['gt_depth_maps'][i].numpy()
        # float32 may put a point onto the other side of a pixel's border
        assert (np.abs(ours - expected) > 1e-3).sum() <= 2
        total += (ours > 0).sum()
    assert total > 1000


def test_the_frame_is_a_sample_of_the_shipped_configs():
    dataset = frame_dataset([*LOAD, dict(type='mmkd.MultiViewImageAug', size=SIZE, test_mode=True),
                             dict(type='ObjectRangeFilter', point_cloud_range=list(RANGE)),
                             dict(type='mmkd.PackBEVInputs',
                                  keys=['img', 'gt_bboxes_3d', 'gt_labels_3d'])])
    item = dataset[0]
    assert item['inputs']['img'].shape == (6, 3, *SIZE)
    assert 40 < len(item['data_samples'].gt_instances_3d.labels_3d) <= 69
