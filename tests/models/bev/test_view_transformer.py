"""Lift and splat: where things land, against the volume, and what is refused."""
import numpy as np
import pytest
import torch

from mmkd.models.bev import LSSViewTransformer
from tests.models.bev.rigs import CELL, RANGE, SIZE, augmented, cameras_of, rig

FEATURES = (SIZE[0] // 16, SIZE[1] // 16)


def view(**changes):
    return LSSViewTransformer(**dict(
        dict(in_channels=5, out_channels=3, voxel_size=CELL, point_cloud_range=RANGE,
             depth_bins=(1., 41., 2.), stride=16), **changes))


def one_pixel(module, camera, row, column, depth_bin):
    """Features (6, C, H, W) and a depth_net by which one pixel alone is lifted, to one depth."""
    features = torch.zeros(6, 5, *FEATURES)
    features[camera, 0, row, column] = 1.
    with torch.no_grad():
        for parameter in module.depth_net.parameters():
            parameter.zero_()
        module.depth_net.weight[depth_bin, 0] = 1000.  # its depth is certain
        module.depth_net.weight[module.bins:, 0] = torch.tensor([1., 2., 3.])[:, None, None]
    return features


@pytest.mark.parametrize('meta', [rig(), augmented(rig(), 3)])
@pytest.mark.parametrize('camera, row, column, depth_bin', [(0, 1, 2, 3), (2, 1, 10, 9),
                                                           (4, 2, 5, 6), (5, 1, 0, 1)])
def test_what_is_at_x_y_lands_in_cell_y_x(meta, camera, row, column, depth_bin):
    module = view()
    features = one_pixel(module, camera, row, column, depth_bin)
    bev, _ = module(features, cameras_of(meta), SIZE)
    assert bev.shape == (1, 3, 48, 32)  # y, then x
    # where the pixel lies, by inverting the matrices step by step
    pixel = np.array([column * 16 + 7.5, row * 16 + 7.5, 0., 1.])
    u, v = (np.linalg.inv(meta['img_aug_matrix'][camera]) @ pixel)[:2]
    depth = 1 + 2 * depth_bin
    ray = np.linalg.inv(meta['cam2img'][camera]) @ [u, v, 1.] * depth
    x, y, z, _ = meta['lidar_aug_matrix'] @ np.linalg.inv(meta['lidar2cam'][camera]) @ [*ray, 1.]
    assert RANGE[2] < z < RANGE[5]
    cell = int((y - RANGE[1]) // CELL[1]), int((x - RANGE[0]) // CELL[0])
    assert bev[0, :, cell[0], cell[1]].tolist() == [1., 2., 3.]
    bev[0, :, cell[0], cell[1]] = 0.
    assert not bev.any()


def by_volume(module, features, cameras):
    """The same by building the volume depth x context and adding it up."""
    b, n = cameras.lidar2cam.shape[:2]
    logits, context = module.depth_net(features).split([module.bins, 3], 1)
    volume = logits.softmax(1)[:, None] * context[:, :, None]  # (B * N, C, D, H, W)
    points = module.geometry(cameras, SIZE, features)
    low, size = torch.tensor(RANGE[:3]), torch.tensor(CELL)
    cell = torch.floor((points - low) / size).long()
    x_cells, y_cells = 32, 48
    inside = ((cell >= 0) & (cell < torch.tensor([x_cells, y_cells, 1]))).all(-1)
    sample = torch.arange(b).view(b, 1, 1, 1, 1)
    flat = (sample * y_cells + cell[..., 1]) * x_cells + cell[..., 0]
    rows = volume.unflatten(0, (b, n)).permute(0, 1, 3, 4, 5, 2)[inside]
    out = torch.zeros(b * y_cells * x_cells, 3, dtype=rows.dtype).index_add(0, flat[inside], rows)
    return out.view(b, y_cells, x_cells, 3).permute(0, 3, 1, 2)


def test_map_and_gradients_are_those_of_the_volume():
    module = view().double()
    cameras = cameras_of(augmented(rig(), 0), augmented(rig(), 1))
    features = torch.randn(12, 5, *FEATURES, dtype=torch.float64)
    weight = torch.randn(2, 3, 48, 32, dtype=torch.float64)
    results = []
    for run in (lambda x: module(x, cameras, SIZE)[0], lambda x: by_volume(module, x, cameras)):
        x = features.clone().requires_grad_()
        module.zero_grad()
        bev = run(x)
        (bev * weight).sum().backward()
        results.append([bev.detach(), x.grad, *(p.grad for p in module.parameters())])
    for ours, expected in zip(*results, strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_the_order_of_the_cameras_does_not_matter():
    module, meta = view().double(), augmented(rig())
    features = torch.randn(6, 5, *FEATURES, dtype=torch.float64)
    bev, logits = module(features, cameras_of(meta), SIZE)
    order = [3, 0, 5, 1, 4, 2]
    shuffled = {key: [meta[key][i] for i in order] if key != 'lidar_aug_matrix' else meta[key]
                for key in meta}
    again, logits_again = module(features[order], cameras_of(shuffled), SIZE)
    torch.testing.assert_close(again, bev, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(logits_again[0], logits[0][order])


def test_flipped_images_give_the_same_map():
    """Where feature and picture are flipped and the matrix says so, nothing moves."""
    module, meta = view().double(), rig()
    features = torch.randn(6, 5, *FEATURES, dtype=torch.float64)
    bev, _ = module(features, cameras_of(meta), SIZE)
    flip = np.diag([-1., 1., 1., 1.])
    flip[0, 3] = SIZE[1] - 1
    flipped, _ = module(features.flip(-1), cameras_of(dict(meta, img_aug_matrix=[flip] * 6)), SIZE)
    torch.testing.assert_close(flipped, bev, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('axis, sign', [(-1, (-1., 1.)), (-2, (1., -1.))])
def test_a_flipped_scene_gives_the_flipped_map(axis, sign):
    """x is the last axis of the map, y the one before."""
    module, meta = view().double(), rig()
    features = torch.randn(6, 5, *FEATURES, dtype=torch.float64)
    bev, _ = module(features, cameras_of(meta), SIZE)
    flipped, _ = module(features, cameras_of(dict(
        meta, lidar_aug_matrix=np.diag([*sign, 1., 1.]))), SIZE)
    torch.testing.assert_close(flipped, bev.flip(axis), rtol=1e-9, atol=1e-9)


def test_cells_above_each_other_become_channels():
    module = view(voxel_size=(2., 2., 4.))
    bev, _ = module(torch.randn(6, 5, *FEATURES), cameras_of(rig()), SIZE)
    assert bev.shape == (1, 2 * 3, 48, 32)
    flat, _ = module(torch.zeros(6, 5, *FEATURES), cameras_of(rig()), SIZE)
    whole = view()
    whole.load_state_dict(module.state_dict())
    features = torch.randn(6, 5, *FEATURES)
    layers = module(features, cameras_of(rig()), SIZE)[0].unflatten(1, (2, 3))
    torch.testing.assert_close(layers.sum(1), whole(features, cameras_of(rig()), SIZE)[0])


def test_linspace_goes_from_the_first_to_the_last_pixel():
    meta = rig(1)
    module = view(pixels='linspace')
    points = module.geometry(cameras_of(meta), SIZE, torch.zeros(1, 5, *FEATURES))
    found, _ = cameras_of(meta).project(points.flatten(1, 4).double())
    found = found.view(module.bins, *FEATURES, 2)
    torch.testing.assert_close(found[4, 0, 0], torch.zeros(2).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[4, -1, -1], torch.tensor([175., 63.]).double(), atol=1e-3,
                               rtol=0)


def test_amp_sums_in_float32():
    module, features = view(depth_supervision=dict(weight=1.)), torch.randn(6, 5, *FEATURES)
    maps = [dict(gt_depth_maps=torch.rand(6, *FEATURES) * 40)]
    with torch.autocast('cpu', torch.bfloat16):
        bev, logits = module(features, cameras_of(rig()), SIZE)
        loss = module.loss(logits, maps)['loss_depth']
    assert logits.dtype == torch.bfloat16 and loss.dtype == torch.float32
    torch.testing.assert_close(bev.float(), module(features, cameras_of(rig()), SIZE)[0], rtol=.1,
                               atol=.05)


def test_refusals():
    with pytest.raises(ValueError, match='stride 16'):
        view()(torch.randn(6, 5, 8, 22), cameras_of(rig()), SIZE)
    with pytest.raises(ValueError, match='5 images do not go with the matrices of 1 samples'):
        view()(torch.randn(5, 5, *FEATURES), cameras_of(rig()), SIZE)
    with pytest.raises(ValueError, match='depth_bins'):
        view(depth_bins=(1., 1., .5))
    with pytest.raises(ValueError, match='pixels'):
        view(pixels='corners')
    with pytest.raises(ValueError, match='depth_supervision'):
        view(depth_supervision=dict(wieght=3.))
