"""BEVFusion: both sensors on one map, and each of them counts."""
import pytest
import torch
from mmengine.registry import DefaultScope

from tests.detectors3d import bev_batch
from tests.helpers import build

from .rigs import CLASSES, RANGE, SIZE, tiny_fusion


@pytest.fixture(autouse=True)
def _scope():
    DefaultScope.get_instance('fusion', scope_name='mmdet3d')


def batch(**others):
    return bev_batch(**{**dict(area=RANGE, images=(6, *SIZE)), **others})


def maps(model, data):
    """(B, 8, 48, 32) what the encoder is given, and of the LiDAR what the fusion layer is."""
    seen = {}
    hooks = [model.img_bev_encoder_backbone.register_forward_pre_hook(
        lambda _, args: seen.update(fused=args[0])),
        model.pts_fusion_layer.register_forward_pre_hook(lambda _, args: seen.update(both=args[0]))]
    with torch.no_grad():
        model.eval().test_step(data)
    for hook in hooks:
        hook.remove()
    return seen['fused'], seen['both']


def test_trains_every_parameter_and_predicts():
    model = build(tiny_fusion()).train()
    losses = model(**model.data_preprocessor(batch(), True), mode='loss')
    total, log = model.parse_losses(losses)
    total.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    assert torch.isfinite(total) and log['task0.loss_heatmap'] > 0
    found = model.eval().test_step(batch())
    assert len(found) == 2
    assert all(found[0].pred_instances_3d.labels_3d < len(CLASSES))


def test_a_point_and_a_camera_fall_into_one_map():
    """Cell [y, x] of the LiDAR's part is where the points are; images move the other part alone."""
    model = build(tiny_fusion())
    data = batch(samples=1)
    data['inputs']['points'] = [torch.tensor([[20.5, -30.5, 0., .5, 0.]] * 6)]
    data['inputs']['points'][0][:, 2] = torch.linspace(-1, 1, 6)
    elsewhere = batch(samples=1)
    elsewhere['inputs']['points'] = [data['inputs']['points'][0] - torch.tensor([32., 0, 0, 0, 0])]
    (fused, both), (other, moved) = maps(model, data), maps(model, elsewhere)
    assert both.shape == (1, 20, 48, 32) and fused.shape == (1, 8, 48, 32)
    assert torch.equal(both[:, :8], moved[:, :8]) and not torch.equal(fused, other)
    changed = (both != moved).any(1)[0].nonzero()
    near = torch.tensor([[int((-30.5 + 48) / 2), int((x + 32) / 2)] for x in (20.5, -11.5)])
    # within the reach of the points' convolutions, of either place
    reach = (changed[:, None] - near).abs().amax(-1)
    assert len(changed) and (reach.min(1).values <= 2).all() and (reach.min(0).values <= 1).all()
    dark = batch(samples=1)
    dark['inputs'] = dict(points=data['inputs']['points'],
                          img=[torch.zeros_like(data['inputs']['img'][0])])
    _, unseen = maps(model, dark)
    assert torch.equal(both[:, 8:], unseen[:, 8:]) and not torch.equal(both[:, :8], unseen[:, :8])


@pytest.mark.parametrize('points', [None, 'raw'])
def test_a_sensor_that_is_missing_is_told(points):
    cfg = tiny_fusion()
    if points:
        cfg['data_preprocessor']['voxel'] = False
    with pytest.raises(ValueError, match='BEVFusion needs points in voxels'):
        build(cfg).eval().test_step(batch(points=100 if points else None))


def test_maps_of_other_cells_are_told():
    cfg = tiny_fusion()
    cfg['pts_backbone']['layer_strides'] = [1]
    with pytest.raises(ValueError, match=r'cameras has \(48, 32\) cells .* points \(96, 64\)'):
        build(cfg).eval().test_step(batch())


@pytest.mark.parametrize('part, key, value, told', [
    ('data_preprocessor', 'voxel_layer', dict(
        max_num_points=5, point_cloud_range=[-31., -48., -5., 33., 48., 3.],
        voxel_size=[1., 1., 8.], max_voxels=2000), 'the voxel layer says'),
    ('pts_middle_encoder', 'output_shape', (64, 96), r'output_shape=\(96, 64\)'),
    ('pts_voxel_encoder', 'voxel_size', (.5, .5, 8.), 'pts_voxel_encoder.voxel_size is')])
def test_points_on_another_grid_are_told(part, key, value, told):
    """Their pillars would come to lie elsewhere than what the cameras see, without a word."""
    cfg = tiny_fusion()
    cfg[part][key] = value
    with pytest.raises(ValueError, match=told):
        build(cfg)
