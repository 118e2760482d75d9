# CenterPoint with pillars of 0.2 m on UniDistill's schedule, whose train pipeline loads what a
# teacher of cameras reads, too. The student reads points alone, in training as in testing.
_base_ = [
    'mmdet3d::_base_/models/centerpoint_pillar02_second_secfpn_nus.py',
    '../datasets/nus-bev-256x704_points.py', '../schedules/unidistill_20e.py',
    'mmdet3d::_base_/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(
        voxel_layer=dict(point_cloud_range={{_base_.point_cloud_range}})),
    pts_voxel_encoder=dict(point_cloud_range={{_base_.point_cloud_range}}),
    pts_bbox_head=dict(bbox_coder=dict(pc_range=[-51.2, -51.2])),
    train_cfg=dict(pts=dict(point_cloud_range={{_base_.point_cloud_range}})),
    test_cfg=dict(pts=dict(pc_range=[-51.2, -51.2])))
test_pipeline = [
    {{_base_.load_scan}}, {{_base_.load_sweeps}},
    dict(type='mmkd.PackBEVInputs', keys=['points'])
]
val_dataloader = dict(
    dataset=dict(
        modality=dict(use_lidar=True, use_camera=False),
        data_prefix={{_base_.train_dataloader.dataset.dataset.data_prefix}},
        pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1e-3))
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3))
