"""The whole detector: training, prediction, the frame before, and what is refused."""
import copy

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS

from mmkd.utils.configs import read_config
from tests.models.bev.rigs import CLASSES, SIZE, augmented, cameras_of, rig, tiny_item, tiny_model


def build(frames=1, edit=None, **view):
    cfg = tiny_model(frames, **view)
    if edit:
        edit(cfg)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def losses_of(model, *items):
    return model(**model.data_preprocessor(pseudo_collate(list(items)), True), mode='loss')


def two_frames(meta=None, moved=None):
    """Matrices of two frames; ``moved`` (4, 4): this frame's LiDAR -> the earlier one's."""
    meta = rig() if meta is None else meta
    moved = np.eye(4) if moved is None else moved
    return dict(meta, cam2img=meta['cam2img'] * 2, img_aug_matrix=meta['img_aug_matrix'] * 2,
                lidar2cam=meta['lidar2cam'] + [matrix @ moved for matrix in meta['lidar2cam']])


@pytest.mark.parametrize('depth', [False, True])
def test_a_training_step_gives_every_parameter_a_gradient(depth):
    view = dict(depth_net=dict(type='mmkd.DepthNet', mid_channels=8),
                depth_supervision=dict(weight=3.)) if depth else {}
    model = build(**view)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    losses = losses_of(model, tiny_item(depth=depth),
                       tiny_item(meta=augmented(rig()), depth=depth, seed=1))
    names = {'task0.loss_heatmap', 'task0.loss_bbox', 'task1.loss_heatmap', 'task1.loss_bbox'}
    assert set(losses) == names | ({'loss_depth'} if depth else set())
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    assert torch.isfinite(torch.cat([p.grad.flatten() for p in model.parameters()])).all()
    before = model.img_backbone.conv1.weight.clone()
    optimizer.step()
    assert (model.img_backbone.conv1.weight != before).any()


def test_it_predicts_from_images_alone():
    model = build().eval()
    results = model.test_step(pseudo_collate([tiny_item(), tiny_item(seed=1)]))
    assert len(results) == 2
    for result in results:
        boxes = result.pred_instances_3d.bboxes_3d
        assert boxes.tensor.shape[1] == 9 and len(boxes) == len(result.pred_instances_3d.scores_3d)
    # the mode 'tensor': what the head gives
    data = model.data_preprocessor(pseudo_collate([tiny_item()]))
    heads = model(**data, mode='tensor')
    assert heads[0][0]['heatmap'].shape == (1, 4, 48, 32)


@pytest.mark.parametrize('frames', [1, 2])
def test_it_loads_where_mmdet3d_loads_models(tmp_path, frames):
    from mmdet3d.apis import init_model
    model = build(frames)
    torch.save({'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'classes': CLASSES}}},
               tmp_path / 'weights.pth')
    cfg = read_config('configs/detectors/bevdet/bevdet'
                      + ('' if frames == 1 else '4d') + '_r18_8xb8-24e_nus-256x704.py')
    cfg.model = tiny_model(frames)
    loaded = init_model(cfg, str(tmp_path / 'weights.pth'), device='cpu')
    assert type(loaded) is type(model)
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


@pytest.mark.parametrize('counts', [(0,), (0, 2), (0, 0)])
def test_samples_without_boxes_have_finite_losses(counts):
    model = build()
    losses = losses_of(model, *(tiny_item(boxes=n, seed=i) for i, n in enumerate(counts)))
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert torch.isfinite(loss)
    if not any(counts):
        assert losses['task0.loss_bbox'].item() == 0.


def test_the_order_of_the_cameras_does_not_matter():
    model = build().eval()
    item = tiny_item(meta=augmented(rig()))
    data = model.data_preprocessor(pseudo_collate([item]))
    bev = model.extract_bev(data['inputs'], [item['data_samples'].metainfo])[0][0]
    order = [5, 3, 1, 0, 2, 4]
    meta = item['data_samples'].metainfo
    meta |= {key: [meta[key][i] for i in order] for key in ('cam2img', 'lidar2cam',
                                                            'img_aug_matrix')}
    again = model.extract_bev(dict(imgs=data['inputs']['imgs'][:, order]), [meta])[0][0]
    torch.testing.assert_close(again, bev, rtol=1e-4, atol=1e-5)


def test_a_frame_before_from_the_same_place_gives_the_same_map():
    model = build(2).eval()
    image = torch.randn(1, 6, 3, *SIZE)
    bev, _ = model.lift(torch.cat([image, image], 1), cameras_of(two_frames()))
    torch.testing.assert_close(bev[:, :8], bev[:, 8:])


def test_what_stands_still_stays_in_its_cell():
    """The car has driven: what the earlier cameras saw comes to where it is now."""
    model = build(2).eval()
    image = torch.randn(1, 6, 3, *SIZE)
    # this frame's (x, y) is (x, y + 4) in the earlier LiDAR frame: the car drove 4 m forward
    moved = np.eye(4)
    moved[1, 3] = 4.
    bev, _ = model.lift(torch.cat([image, image], 1), cameras_of(two_frames(moved=moved)))
    # the earlier map, 4 m further back: two cells of 2 m
    torch.testing.assert_close(bev[:, 8:, :-2], bev[:, :8, 2:], rtol=1e-4, atol=1e-5)
    assert bev[:, :8].abs().max() > 0


def test_turning_is_undone_with_the_poses():
    """By geometry: a point that stands still is lifted to the same place from both frames."""
    angle = .3
    moved = np.eye(4)
    moved[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    moved[:3, 3] = 1., 3., .1
    cameras = cameras_of(two_frames(augmented(rig()), moved))
    here = torch.tensor([[[4., 11., .5]]], dtype=torch.float64)
    pixels, depth = cameras.project(here)
    for camera in range(12):
        if depth[0, camera, 0] > 1:
            points = cameras.cameras(camera, camera + 1).points(
                pixels[0, camera].view(1, 1, 1, 2), depth[0, camera].view(1, 1, 1))
            torch.testing.assert_close(points.flatten(), here.flatten())
    assert (depth[0, 6:, 0] > 1).any()


@pytest.mark.parametrize('grad', [False, True])
def test_gradients_go_through_the_frame_before_only_if_asked(grad):
    model = build(2, edit=lambda cfg: cfg.update(grad_previous=grad))
    image = torch.randn(1, 12, 3, *SIZE, requires_grad=True)
    bev, _ = model.lift(image, cameras_of(two_frames()))
    bev.square().sum().backward()
    assert image.grad[:, :6].any()
    assert image.grad[:, 6:].any() == grad


def test_two_frames_train():
    model = build(2)
    losses = losses_of(model, tiny_item(meta=two_frames()))
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


@pytest.mark.parametrize('path, who', [
    ('train_cfg.pts.point_cloud_range', "head's train_cfg"),
    ('test_cfg.pts.pc_range', "head's test_cfg"),
    ('pts_bbox_head.bbox_coder.pc_range', "head's bbox_coder")])
def test_mismatched_ranges_are_told(path, who):
    def shift(cfg):
        *parents, name = path.split('.')
        for parent in parents:
            cfg = cfg[parent]
        cfg[name] = [-30., *cfg[name][1:]]
    with pytest.raises(ValueError, match=f'the view transformer says .* but the {who}'):
        build(edit=shift)


@pytest.mark.parametrize('parts', [(0,), (1,), (2,), (0, 1, 2)])
def test_cells_that_are_others_than_the_heads_settings_are_told(parts):
    def coarser(cfg):
        settings = (cfg['train_cfg']['pts'], cfg['test_cfg']['pts'],
                    cfg['pts_bbox_head']['bbox_coder'])
        for i in parts:
            settings[i]['out_size_factor'] = 8
    if len(parts) < 3:  # which disagree with each other
        with pytest.raises(ValueError, match="the cells of the head's train_cfg are"):
            build(edit=coarser)
    else:
        with pytest.raises(ValueError, match='32 cells along x'):
            losses_of(build(edit=coarser), tiny_item())


def test_what_is_missing_is_told():
    model = build()
    with pytest.raises(ValueError, match='needs images'):
        model.extract_bev(dict(points=[torch.zeros(1, 5)]), [rig()])
    item = tiny_item()
    del item['data_samples'].lidar2cam
    with pytest.raises(ValueError, match='sample 0 has no lidar2cam'):
        losses_of(model, item)
    item = tiny_item()
    item['inputs']['img'] = item['inputs']['img'][:5]
    with pytest.raises(ValueError, match='5 images do not go with the matrices of 6 cameras'):
        losses_of(model, item)
    with pytest.raises(ValueError, match='LoadPreviousFrame'):
        losses_of(build(2), tiny_item(meta=rig(5)))


def test_points_do_not_change_it():
    model = build().eval()
    item = tiny_item()
    with_points = copy.deepcopy(item)
    with_points['inputs']['points'] = torch.rand(20, 5)
    first, second = (model.test_step(pseudo_collate([x]))[0].pred_instances_3d
                     for x in (item, with_points))
    assert torch.equal(first.scores_3d, second.scores_3d)


@pytest.mark.parametrize('frames', [1, 2])
def test_it_trains_in_mixed_precision(frames):
    model = build(frames, depth_net=dict(type='mmkd.DepthNet', mid_channels=8),
                  depth_supervision=dict(weight=3.))
    item = tiny_item(meta=rig() if frames == 1 else two_frames(), depth=True)
    with torch.autocast('cpu', torch.bfloat16):
        loss, logged = model.parse_losses(losses_of(model, item))
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    plain, _ = model.parse_losses(losses_of(model, item))
    assert loss.item() == pytest.approx(plain.item(), rel=.1)


def test_images_are_normalised_and_the_batch_is_padded():
    """mmdet3d's preprocessor: RGB, (B, N, 3, H, W)."""
    model, item = build(), tiny_item()
    images = model.data_preprocessor(pseudo_collate([item]))['inputs']['imgs']
    raw = item['inputs']['img'][2, :, 5, 7].float()  # B, G, R
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    torch.testing.assert_close(images[0, 2, :, 5, 7], (raw.flip(0) - mean) / std)
