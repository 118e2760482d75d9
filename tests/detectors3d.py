"""Tiny detectors of mmdet3d, made by hand, and batches for them.

Pillars of 1 m on 16 x 16 m: maps of 16 x 16 cells, heads on 8 x 8 (or as told).
"""
import numpy as np
import torch
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.config import ConfigDict
from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

from mmkd.utils.configs import read_config
from tests.helpers import runner_config

RANGE = (-8., -8., -3., 8., 8., 1.)
TASKS = (('car', 'truck'), ('pedestrian',))
CLASSES = 3
BN1D, BN2D = dict(type='BN1d', eps=1e-3), dict(type='BN', eps=1e-3)


def _voxels(area, size, **others):
    return dict(type='Det3DDataPreprocessor', voxel=True, voxel_layer=dict(
        max_num_points=5, point_cloud_range=list(area), voxel_size=[size, size, 4],
        max_voxels=(2000, 2000), **others))


def _shape(area, size):
    return [round((area[i + 3] - area[i]) / size) for i in (1, 0)]


def _bev(width):
    """(SECOND, SECONDFPN) that halve the map and give 2 * width channels at half of its size."""
    backbone = dict(type='SECOND', in_channels=width, out_channels=[width, 2 * width],
                    layer_nums=[1, 1], layer_strides=[2, 2], norm_cfg=BN2D,
                    conv_cfg=dict(type='Conv2d', bias=False))
    neck = dict(type='SECONDFPN', in_channels=[width, 2 * width], out_channels=[width, width],
                upsample_strides=[1, 2], norm_cfg=BN2D,
                upsample_cfg=dict(type='deconv', bias=False), use_conv_for_no_stride=True)
    return backbone, neck


def center_settings(area=RANGE, size=1., factor=2, tasks=TASKS, channels=16):
    """(head, train_cfg, test_cfg) of a CenterHead on cells of ``factor`` times ``size``."""
    grid = [*reversed(_shape(area, size)), 1]
    head = dict(
        type='CenterHead', in_channels=channels,
        tasks=[dict(num_class=len(names), class_names=list(names)) for names in tasks],
        common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
        share_conv_channel=8,
        bbox_coder=dict(type='CenterPointBBoxCoder', pc_range=list(area[:2]), max_num=20,
                        post_center_range=[-99., -99., -10., 99., 99., 10.], score_threshold=0.1,
                        out_size_factor=factor, voxel_size=[size, size], code_size=9),
        separate_head=dict(type='SeparateHead', init_bias=-2.19, final_kernel=3, head_conv=8),
        loss_cls=dict(type='mmdet.GaussianFocalLoss', reduction='mean'),
        loss_bbox=dict(type='mmdet.L1Loss', reduction='mean', loss_weight=0.25), norm_bbox=True)
    train = dict(pts=dict(
        point_cloud_range=list(area), grid_size=grid, voxel_size=[size, size, 4],
        out_size_factor=factor, dense_reg=1, gaussian_overlap=0.1, max_objs=20, min_radius=2,
        code_weights=[1.] * 8 + [0.2] * 2))
    test = dict(pts=dict(
        pc_range=list(area[:2]), post_center_limit_range=[-99., -99., -10., 99., 99., 10.],
        max_per_img=20, max_pool_nms=False, min_radius=[4] * len(tasks), score_threshold=0.1,
        out_size_factor=factor, voxel_size=[size, size], nms_type='rotate', pre_max_size=50,
        post_max_size=20, nms_thr=0.2))
    return head, train, test


def centerpoint(width=8, area=RANGE, size=1., tasks=TASKS, features=5, encoder='PillarFeatureNet',
                **changes):
    """CenterPoint with pillars."""
    backbone, neck = _bev(width)
    head, train, test = center_settings(area, size, 2, tasks, 2 * width)
    model = dict(
        type='CenterPoint', _scope_='mmdet3d', data_preprocessor=_voxels(area, size),
        pts_voxel_encoder=dict(
            type=encoder, in_channels=features, feat_channels=[width], with_distance=False,
            voxel_size=(size, size, 4), point_cloud_range=list(area), norm_cfg=BN1D, legacy=False),
        pts_middle_encoder=dict(type='PointPillarsScatter', in_channels=width,
                                output_shape=_shape(area, size)),
        pts_backbone=backbone, pts_neck=neck, pts_bbox_head=head, train_cfg=train, test_cfg=test)
    return ConfigDict({**model, **changes})


def pointpillars(width=8, area=RANGE, size=1., features=4, **changes):
    """VoxelNet with pillars and anchors of three classes."""
    backbone, neck = _bev(width)
    assigner = dict(type='Max3DIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.35,
                    iou_calculator=dict(type='mmdet3d.BboxOverlapsNearest3D'),
                    min_pos_iou=0.35, ignore_iof_thr=-1)
    model = dict(
        type='VoxelNet', _scope_='mmdet3d', data_preprocessor=_voxels(area, size),
        voxel_encoder=dict(
            type='PillarFeatureNet', in_channels=features, feat_channels=[width],
            with_distance=False, voxel_size=(size, size, 4), point_cloud_range=list(area),
            norm_cfg=BN1D),
        middle_encoder=dict(type='PointPillarsScatter', in_channels=width,
                            output_shape=_shape(area, size)),
        backbone=backbone, neck=neck,
        bbox_head=dict(
            type='Anchor3DHead', num_classes=CLASSES, in_channels=2 * width,
            feat_channels=2 * width, use_direction_classifier=True, assign_per_class=True,
            anchor_generator=dict(
                type='AlignedAnchor3DRangeGenerator',
                ranges=[[*area[:2], -1., *area[3:5], -1.]] * CLASSES,
                sizes=[[3.9, 1.6, 1.56]] * CLASSES, rotations=[0, 1.57], reshape_out=False),
            diff_rad_by_sin=True, bbox_coder=dict(type='DeltaXYZWLHRBBoxCoder'),
            loss_cls=dict(type='mmdet.FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25,
                          loss_weight=1.0),
            loss_bbox=dict(type='mmdet.SmoothL1Loss', beta=1.0 / 9.0, loss_weight=2.0),
            loss_dir=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False, loss_weight=0.2)),
        train_cfg=dict(assigner=[assigner] * CLASSES, allowed_border=0, pos_weight=-1,
                       debug=False),
        test_cfg=dict(use_rotate_nms=True, nms_across_levels=False, nms_thr=0.01, score_thr=0.1,
                      min_bbox_size=0, nms_pre=20, max_num=10))
    return ConfigDict({**model, **changes})


def fcos3d(width=16, **changes):
    """FCOS3D on a narrow ResNet-18."""
    path = 'mmdet3d::fcos3d/fcos3d_r101-caffe-dcn_fpn_head-gn_8xb2-1x_nus-mono3d.py'
    model = read_config(path).model
    model.update(_scope_='mmdet3d')
    model.backbone = dict(
        type='mmdet.ResNet', depth=18, base_channels=8, stem_channels=8, num_stages=4,
        out_indices=(0, 1, 2, 3), frozen_stages=-1, norm_cfg=dict(type='BN'), style='pytorch')
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=width)
    head = model.bbox_head
    head.update(in_channels=width, feat_channels=width, stacked_convs=1, dcn_on_last_conv=False,
                norm_cfg=dict(type='GN', num_groups=4), cls_branch=(width,), dir_branch=(width,),
                attr_branch=(width,), reg_branch=((width,),) * 4 + ((),))
    model.update(changes)
    return model


def bev_distiller(terms, student=None, teacher=None, **others):
    """OfflineDistiller of two tiny CenterPoints, or of model dicts."""
    teacher_args = others.pop('teacher_args', dict(allow_random=True))
    return dict(type='mmkd.OfflineDistiller', student=student or centerpoint(),
                distillations=terms, teacher=dict(
                    config=dict(model=teacher or centerpoint(16), default_scope='mmdet3d'),
                    **teacher_args), **others)


def cloud(points=200, features=5, area=RANGE, generator=None):
    """Random points (P, F) within the range."""
    low, high = torch.tensor(area).split(3)
    found = torch.rand(points, features, generator=generator)
    found[:, :3] = low + (0.01 + 0.98 * found[:, :3]) * (high - low)
    return found


def boxes_3d(count=2, area=RANGE, generator=None, code=9):
    """LiDARInstance3DBoxes (count, code) within the range."""
    low, high = torch.tensor(area).split(3)
    places = low + (0.2 + 0.6 * torch.rand(count, 3, generator=generator)) * (high - low)
    sizes = torch.tensor([[3., 1.6, 1.5]]).expand(count, 3)
    rest = torch.rand(count, code - 6, generator=generator)
    return LiDARInstance3DBoxes(torch.cat([places, sizes, rest], 1), box_dim=code)


def bev_batch(samples=2, boxes=2, features=5, area=RANGE, images=None, seed=0, points=200,
              code=9):
    """A batch as a data loader gives it: inputs by modality, and samples with boxes.

    ``images``: (cameras, height, width) adds images and the cameras' matrices. ``points``: None
    for a batch without.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs, found = {}, []
    if points is not None:
        inputs['points'] = [cloud(points, features, area, generator) for _ in range(samples)]
    if images is not None:
        inputs['img'] = [torch.randint(0, 256, (images[0], 3, *images[1:]), generator=generator,
                                       dtype=torch.uint8) for _ in range(samples)]
    for i in range(samples):
        sample = Det3DDataSample(metainfo=dict(
            sample_idx=i, box_type_3d=LiDARInstance3DBoxes, box_mode_3d=0,
            lidar_aug_matrix=np.eye(4)))
        if images is not None:
            sample.set_metainfo(cameras(*images))
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=boxes_3d(boxes, area, generator, code),
            labels_3d=torch.randint(0, CLASSES, (boxes,), generator=generator))
        found.append(sample)
    return dict(inputs=inputs, data_samples=found)


def cameras(count, height, width):
    """Matrices of cameras that look around in the LiDAR frame (x right, y forward)."""
    poses = []
    for i in range(count):
        turn = np.pi / 2 + 2 * np.pi * i / count
        forward = np.array([np.cos(turn), np.sin(turn), 0])
        pose = np.eye(4)
        pose[:3, :3] = [[forward[1], -forward[0], 0], [0, 0, -1], forward]
        poses.append(pose)
    matrix = np.array([[width * .6, 0, width / 2], [0, width * .6, height / 2], [0, 0, 1]])
    return dict(cam2img=[matrix] * count, lidar2cam=poses, img_aug_matrix=[np.eye(4)] * count,
                ori_shape=(height, width), img_shape=(height, width))


@DATASETS.register_module()
class TinyScans(Dataset):
    """Random points, and images if asked for, with boxes, made from their index; every third scene
    has no box."""

    def __init__(self, length=8, **batch):
        self.length, self.batch = length, batch
        self.metainfo = dict(classes=('car', 'truck', 'pedestrian'))

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        batch = bev_batch(1, 0 if index % 3 == 2 else 2, seed=index, **self.batch)
        return dict(inputs={key: value[0] for key, value in batch['inputs'].items()},
                    data_samples=batch['data_samples'][0])


@METRICS.register_module()
class CountsBoxes3D(BaseMetric):
    """How many boxes were predicted."""

    def process(self, data_batch, data_samples):
        self.results += [len(sample['pred_instances_3d']['bboxes_3d']) for sample in data_samples]

    def compute_metrics(self, results):
        return dict(boxes=sum(results))


def bev_runner_config(model, work_dir, iters=4, length=8, scans=None, **others):
    """A Config that trains ``model`` on :class:`TinyScans` for a few iterations."""
    cfg = runner_config(model, work_dir, iters, length=length, **others)
    cfg.default_scope = 'mmdet3d'
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset = dict(type='TinyScans', length=loader.dataset.length, **(scans or {}))
    cfg.val_evaluator = cfg.test_evaluator = dict(type='CountsBoxes3D')
    return cfg
