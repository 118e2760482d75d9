# The 3D demo's teacher: CenterPoint on pillars of 0.5 m from three scans of the LiDAR, trained
# longer.
_base_ = 'base.py'
model = dict(
    type='CenterPoint',
    data_preprocessor=dict(
        type='Det3DDataPreprocessor',
        voxel=True,
        voxel_layer=dict(
            max_num_points=16,
            point_cloud_range={{_base_.point_cloud_range}},
            voxel_size=[0.5, 0.5, 8],
            max_voxels=(8000, 8000))),
    pts_voxel_encoder=dict(
        type='PillarFeatureNet',
        in_channels=5,
        feat_channels=[32],
        with_distance=False,
        voxel_size=[0.5, 0.5, 8],
        point_cloud_range={{_base_.point_cloud_range}},
        norm_cfg=dict(type='BN1d', eps=1e-3, momentum=0.01),
        legacy=False),
    pts_middle_encoder=dict(
        type='PointPillarsScatter', in_channels=32, output_shape=(128, 128)),
    pts_backbone=dict(
        type='SECOND',
        in_channels=32,
        out_channels=[32, 64, 128],
        layer_nums=[2, 3, 3],
        layer_strides=[2, 2, 2],
        norm_cfg={{_base_.bev_encoder_norm}},
        conv_cfg=dict(type='Conv2d', bias=False)),
    pts_neck=dict(
        type='SECONDFPN',
        in_channels=[32, 64, 128],
        out_channels=[32, 32, 32],
        upsample_strides=[1, 2, 4],
        norm_cfg={{_base_.bev_encoder_norm}},
        upsample_cfg=dict(type='deconv', bias=False)),
    pts_bbox_head={{_base_.head}},
    train_cfg={{_base_.head_train_cfg}},
    test_cfg={{_base_.head_test_cfg}})
# It reads no images.
train_pipeline = [
    {{_base_.load_scan}}, {{_base_.load_sweeps}},
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='mmkd.BEVAug'),
    dict(type='PointsRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d'])
]
test_pipeline = [
    {{_base_.load_scan}}, {{_base_.load_same_sweeps}},
    dict(type='PointsRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='mmkd.PackBEVInputs', keys=['points'])
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
max_iters = 900
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0., by_epoch=False, begin=50, end=max_iters)
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
