# BEVDet-R50 with CenterPoint's six tasks, and the points of ten sweeps on the same map.
_base_ = ['../../_base_/students/bevdet-r50-6tasks_8xb8-20e_nus-256x704_points.py']
bev_norm = dict(type='BN', eps=1e-3, momentum=0.01)
model = dict(
    type='mmkd.BEVFusion',
    data_preprocessor=dict(
        voxel=True,
        voxel_layer=dict(
            max_num_points=20,
            point_cloud_range={{_base_.point_cloud_range}},
            voxel_size=[0.2, 0.2, 8],
            max_voxels=(30000, 40000))),
    pts_voxel_encoder=dict(
        type='PillarFeatureNet',
        in_channels=5,
        feat_channels=[64],
        with_distance=False,
        voxel_size=(0.2, 0.2, 8),
        point_cloud_range={{_base_.point_cloud_range}},
        norm_cfg=dict(type='BN1d', eps=1e-3, momentum=0.01),
        legacy=False),
    pts_middle_encoder=dict(
        type='PointPillarsScatter', in_channels=64, output_shape=(512, 512)),
    pts_backbone=dict(
        type='SECOND',
        in_channels=64,
        out_channels=[64, 128],
        layer_nums=[3, 5],
        layer_strides=[2, 2],
        norm_cfg=bev_norm,
        conv_cfg=dict(type='Conv2d', bias=False)),
    pts_fusion_layer=dict(
        type='ConvModule',
        in_channels=64 + 128,
        out_channels=64,
        kernel_size=3,
        padding=1,
        norm_cfg=bev_norm))
test_pipeline = [
    dict(type='mmkd.LoadCameraImages', cameras={{_base_.cameras}}),
    {{_base_.load_scan}}, {{_base_.load_sweeps}},
    dict(type='mmkd.MultiViewImageAug', size=(256, 704), test_mode=True),
    dict(type='mmkd.PackBEVInputs', keys=['img', 'points'])
]
val_dataloader = dict(
    dataset=dict(
        modality=dict(use_lidar=True),
        data_prefix=dict(pts='samples/LIDAR_TOP', sweeps='sweeps/LIDAR_TOP'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
