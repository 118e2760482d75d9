"""The detectors of mmkd's own: they build, agree with their data, and train on it.

The networks keep their structure and lose their width.
"""
import copy
import os

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, DefaultScope

from tests.configs.common import DETECTORS, read
from tests.configs.narrow_detectors3d import narrow
from tests.datasets.nuscenes_folders import write_nuscenes

pytestmark = pytest.mark.filterwarnings('ignore')


#: one of each kind
SMALL = [path for path in DETECTORS if '_r18' in path or 'bevfusion' in path]


def stem(path):
    return os.path.basename(path).partition('_8xb8')[0]


def innermost(dataset):
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


@pytest.fixture(scope='module')
def nuscenes(tmp_path_factory):
    root = tmp_path_factory.mktemp('nuscenes')
    write_nuscenes(root)
    return str(root)


def data_of(cfg, loader, root):
    dataset = copy.deepcopy(cfg[loader].dataset)
    innermost(dataset).data_root = root
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return DATASETS.build(dataset)


def test_there_is_each_kind():
    assert {stem(path) for path in DETECTORS} == {'bevfusion_r50-pillar02'} | {
        f'{kind}_r{depth}' for kind in ('bevdet', 'bevdepth', 'bevdet4d') for depth in (18, 50)}


@pytest.mark.parametrize('path', DETECTORS, ids=stem)
def test_config_fits_its_name_and_its_data(path):
    cfg = read(path)
    assert cfg.model.img_backbone.depth == int(stem(path).rpartition('_r')[2].partition('-')[0])
    classes = cfg.train_dataloader.dataset.dataset.metainfo.classes
    assert [name for task in cfg.model.pts_bbox_head.tasks for name in task.class_names] == classes
    view = cfg.model.img_view_transformer
    for pipeline in (cfg.train_dataloader.dataset.dataset.pipeline,
                     cfg.val_dataloader.dataset.pipeline):
        for step in pipeline:
            if step.type == 'mmkd.MultiViewImageAug':
                assert tuple(step.size) == (256, 704)
            if step.type == 'ObjectRangeFilter':
                assert step.point_cloud_range == view.point_cloud_range
            if step.type == 'mmkd.PointsToDepthMaps':
                assert step.stride == view.stride
                assert tuple(step.depth_range) == tuple(view.depth_bins[:2])
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size
    assert cfg.test_dataloader == cfg.val_dataloader
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(dict(cfg.model))
        for step in cfg.val_dataloader.dataset.pipeline:
            TRANSFORMS.build(step)
    assert model.pts_bbox_head.shared_conv.conv.in_channels == \
        sum(cfg.model.img_bev_encoder_neck.out_channels)


@pytest.mark.parametrize('path', SMALL, ids=stem)
def test_config_trains_and_predicts_on_nuscenes_folders(path, nuscenes):
    cfg = read(path)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(narrow(cfg.model))
        model.init_weights()
        train, val = (data_of(cfg, loader, nuscenes) for loader in ('train_dataloader',
                                                                   'val_dataloader'))
        items = [train[0], train[1]]
        losses = model(**model.data_preprocessor(pseudo_collate(items), True), mode='loss')
        loss, _ = model.parse_losses(losses)
        loss.backward()
        model.eval()
        result, = model.test_step(pseudo_collate([val[1]]))
    assert torch.isfinite(loss) and ('loss_depth' in losses) == ('bevdepth' in path)
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    assert result.sample_idx == 1 and result.pred_instances_3d.bboxes_3d.tensor.shape[1] == 9


@pytest.mark.parametrize('path', SMALL, ids=stem)
def test_a_frame_without_boxes_or_points_goes_through_the_pipeline(path, tmp_path):
    write_nuscenes(tmp_path, boxes=0, points=0)
    cfg = read(path)
    dataset = innermost(cfg.train_dataloader.dataset)
    dataset.update(data_root=str(tmp_path), filter_empty_gt=False)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        sample = DATASETS.build(dataset)[1]['data_samples']
    assert sample.gt_instances_3d.bboxes_3d.tensor.shape == (0, 9)
    assert len(sample.gt_instances_3d.labels_3d) == 0
    if 'bevdepth' in path:
        assert not sample.gt_depth_maps.any()
