"""BEVDet and BEVDet4D: tensors in, maps out, for any cameras."""
import numpy as np
import onnxruntime
import pytest
import torch
from mmdeploy.backend.onnxruntime.init_plugins import get_ops_path
from mmengine.config import Config

import mmkd.deploy  # noqa: F401
from mmkd.deploy.camera_bev import bev_pool__sorted, bev_pool_index__cells
from mmkd.deploy.tasks import inputs_of, task_for
from mmkd.ops import bev_pool, bev_pool_index
from tests.deploy.detectors import DetectorPair
from tests.helpers import build
from tests.models.bev.rigs import augmented, rig, tiny_fusion, tiny_item, tiny_model
from tests.models.bev.test_bevdet import two_frames

HEATMAPS = [f'pts_bbox_head.task_heads.{i}.heatmap.1' for i in range(2)]
DEPTH_NET = dict(depth_net=dict(type='mmkd.DepthNet', mid_channels=8))


def config(frames=1, **view):
    return Config(dict(default_scope='mmdet3d', model=tiny_model(frames, **view),
                       test_dataloader=dict(dataset=dict(pipeline=[]))))


def nothing_seen(meta):
    """Cameras that look straight up: no point falls onto the map."""
    up = np.array([[1., 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -50], [0, 0, 0, 1]])
    return dict(meta, lidar2cam=[up for _ in meta['lidar2cam']])


def items(frames=1):
    """Samples with other images and other cameras; the last one sees nothing."""
    metas = [rig(), rig(), augmented(rig()), augmented(rig(focal=80.), 5), nothing_seen(rig())]
    return [tiny_item(0, meta if frames == 1 else two_frames(meta), seed=seed)
            for seed, meta in enumerate(metas)]


@pytest.mark.parametrize('frames, view', [
    (1, {}), (2, {}), (1, DEPTH_NET),
    (1, dict(voxel_size=(2., 2., 4.), rounding='trunc', pixels='linspace', out_channels=4))],
    ids=['bevdet', 'bevdet4d', 'bevdepth', 'two_layers'])
def test_boxes_are_those_of_pytorch(frames, view, tmp_path):
    pair = DetectorPair(config(frames, **view), 'bev-detection', tmp_path, items(frames), HEATMAPS)
    pair.assert_same(least=10)
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(get_ops_path())  # for the deformable convolution
    session = onnxruntime.InferenceSession(pair.path, options)
    names = [x.name for x in session.get_inputs()]
    assert names == ['imgs', 'img2lidar', 'camera_numbers'][:2 + ('depth_net' in view)]
    if view or frames == 2:
        return
    # as a user without torch: matrices by numpy, as the module's docstring says
    item = items()[2]
    meta, batch = item['data_samples'].metainfo, inputs_of(pair.pytorch, item)
    matrices = []
    for k, lidar2cam, image in zip(*(meta[key] for key in ('cam2img', 'lidar2cam',
                                                           'img_aug_matrix')), strict=True):
        intrinsics, pixels = np.eye(4), np.eye(4)
        intrinsics[:3, :3] = k
        pixels[:2, :2], pixels[:2, 2] = image[:2, :2], image[:2, 3]
        lidar2cam = lidar2cam @ np.linalg.inv(meta['lidar_aug_matrix'])
        matrices.append(np.linalg.inv(pixels @ intrinsics @ lidar2cam)[:3])
    outputs = session.run(None, dict(imgs=batch['inputs']['imgs'].numpy(),
                                     img2lidar=np.float32(matrices)[None]))
    with torch.no_grad():
        wanted = pair.pytorch(**batch, mode='tensor')
    for output, value in zip(session.get_outputs(), outputs, strict=True):
        reference = torch.cat([task[0][output.name] for task in wanted], 1)
        scale = reference.abs().max()
        assert (torch.from_numpy(value) - reference).abs().max() < 1e-4 * scale, output.name


def test_a_fusion_is_refused():
    with pytest.raises(ValueError, match='BEVFusion cannot be exported: it reads'):
        task_for(build(tiny_fusion()))


@pytest.mark.parametrize('rounding', ['floor', 'trunc'])
def test_the_exported_form_of_pooling_is_pooling(rounding):
    random = torch.Generator().manual_seed(0)
    geometry = torch.rand(2, 3, 4, 5, 6, 3, generator=random) * 24 - 12
    depth = torch.rand(2, 3, 4, 5, 6, generator=random)
    features = torch.randn(2, 3, 5, 6, 7, generator=random)
    for area in ([-8, -4, -2, 8, 4, 2], [100, 100, 100, 116, 108, 104]):
        settings = (2., 2., 2.), [float(x) for x in area], rounding
        wanted = bev_pool(depth, features, bev_pool_index(geometry, *settings))
        got = bev_pool__sorted(depth, features, bev_pool_index__cells(geometry, *settings))
        assert got.shape == wanted.shape
        assert (got - wanted).abs().max() < 1e-5
