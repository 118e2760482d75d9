"""mmdet3d's dynamic voxel encoders on the CPU, where mmcv has no scatter."""
import pytest
import torch

from mmkd.ops import voxel_index
from mmkd.ops.mmcv_stand_ins import replace_mmcv_ops

SIZE, RANGE = (0.5, 0.5, 4.), (-8., -8., -3., 8., 8., 1.)


@pytest.fixture
def models():
    models = pytest.importorskip('mmdet3d.models', reason='mmdet3d is not installed')
    with replace_mmcv_ops():
        yield models


def cloud():
    points = (torch.rand(600, 4) - 0.5) * torch.tensor([17., 17., 4., 1.])
    points[:, 2] -= 1
    batch = torch.arange(600) * 2 // 600
    coors = voxel_index(points, SIZE, RANGE, batch, 2).point_coors
    kept = coors[:, 0] >= 0
    assert 0 < kept.sum() < 600
    return points[kept], coors[kept].int()


@pytest.mark.parametrize('name', ['DynamicVFE', 'DynamicPillarFeatureNet', 'SegVFE'])
def test_dynamic_encoders_run_and_learn_on_the_cpu(models, name):
    from mmdet3d.registry import MODELS
    points, coors = cloud()
    kwargs = dict(type=f'mmdet3d.{name}', voxel_size=SIZE, point_cloud_range=RANGE)
    if name == 'SegVFE':
        kwargs = dict(type='mmdet3d.SegVFE', in_channels=4, feat_channels=[8, 16],
                      grid_shape=(32, 32, 1))
    else:
        kwargs |= dict(in_channels=4, feat_channels=[16, 8], with_distance=False)
    encoder = MODELS.build(kwargs)
    out = encoder(points.requires_grad_(), coors)
    features, voxel_coors = out[0], out[1]
    expected = coors.unique(dim=0)
    assert torch.equal(voxel_coors, expected.to(voxel_coors.dtype))
    assert len(features) == len(expected) and features.isfinite().all()
    features.sum().backward()
    assert points.grad.isfinite().all() and points.grad.any()


def test_mean_encoder_gives_the_mean_of_each_voxel(models):
    from mmdet3d.registry import MODELS
    points, coors = cloud()
    encoder = MODELS.build(dict(type='mmdet3d.DynamicSimpleVFE', voxel_size=SIZE,
                                point_cloud_range=RANGE))
    features, voxel_coors = encoder(points, coors)
    for m in range(0, len(voxel_coors), 40):
        members = (coors == voxel_coors[m]).all(1)
        torch.testing.assert_close(features[m], points[members].mean(0))
