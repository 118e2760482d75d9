# What every run of the 3D demo shares: data, schedule, evaluation. Small enough for two CPU cores.
_base_ = 'mmdet3d::_base_/default_runtime.py'
data_root = 'work_dirs/demo_det3d/data/drives/'
# What is drawn: pictures of this size, scenes of so many moments.
picture_size = (256, 144)
keyframes = 16
point_cloud_range = [-32.0, -32.0, -5.0, 32.0, 32.0, 3.0]
class_names = [
    'car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle', 'bicycle',
    'pedestrian', 'traffic_cone'
]
cameras = [
    'CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_LEFT', 'CAM_BACK', 'CAM_BACK_RIGHT'
]
# Without the sky.
image_size = (96, 256)
depth_bins = (1., 41., 1.)
feature_stride = 8
load_scan = dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5)
load_sweeps = dict(
    type='LoadPointsFromMultiSweeps',
    sweeps_num=2,
    use_dim=[0, 1, 2, 3, 4],
    pad_empty_sweeps=True,
    remove_close=True)
load_same_sweeps = dict(load_sweeps, test_mode=True)  # the latest, not any two
# Teacher and student see the same scene, moved in the same way: both sensors are loaded, and each
# model reads its own.
train_pipeline = [
    dict(type='mmkd.LoadCameraImages', cameras=cameras), load_scan, load_sweeps,
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(
        type='mmkd.MultiViewImageAug',
        size=image_size,
        resize=(0., 0.1),
        rotate_degrees=(-3., 3.)),
    dict(type='mmkd.BEVAug'),
    dict(type='mmkd.PointsToDepthMaps', stride=feature_stride, depth_range=depth_bins[:2]),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectNameFilter', classes=class_names),
    dict(
        type='mmkd.PackBEVInputs',
        keys=['img', 'points', 'gt_bboxes_3d', 'gt_labels_3d', 'gt_depth_maps'])
]
# Points for the pictures, in which the teacher predicts, too: a student reads none.
test_pipeline = [
    dict(type='mmkd.LoadCameraImages', cameras=cameras), load_scan, load_same_sweeps,
    dict(type='mmkd.MultiViewImageAug', size=image_size, test_mode=True),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='mmkd.PackBEVInputs', keys=['img', 'points'])
]
dataset = dict(
    type='NuScenesDataset',
    data_root=data_root,
    data_prefix=dict(
        pts='samples/LIDAR_TOP',
        sweeps='sweeps/LIDAR_TOP',
        **{camera: f'samples/{camera}'
           for camera in cameras}),
    metainfo=dict(classes=class_names),
    modality=dict(use_lidar=True, use_camera=True),
    box_type_3d='LiDAR')
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        **dataset,
        ann_file='nuscenes_infos_train.pkl',
        use_valid_flag=True,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset, ann_file='nuscenes_infos_val.pkl', test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='NuScenesMetric',
    data_root=data_root,
    ann_file=data_root + 'nuscenes_infos_val.pkl',
    metric='bbox')
test_evaluator = val_evaluator

# The grid of both models: 64 x 64 cells of 1 m for one head with all ten classes.
bev_encoder_norm = dict(type='BN', eps=1e-3, momentum=0.01)
head = dict(
    type='CenterHead',
    in_channels=96,
    tasks=[dict(num_class=10, class_names=class_names)],
    common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
    share_conv_channel=32,
    # Without a threshold: NuScenesMetric breaks where no sample has a single box, as after the
    # first steps of a training.
    bbox_coder=dict(
        type='CenterPointBBoxCoder',
        pc_range=point_cloud_range[:2],
        post_center_range=[-40.0, -40.0, -10.0, 40.0, 40.0, 10.0],
        max_num=150,
        score_threshold=0.,
        out_size_factor=2,
        voxel_size=[0.5, 0.5],
        code_size=9),
    separate_head=dict(type='SeparateHead', init_bias=-2.19, final_kernel=3, head_conv=32),
    loss_cls=dict(type='mmdet.GaussianFocalLoss', reduction='mean'),
    loss_bbox=dict(type='mmdet.L1Loss', reduction='mean', loss_weight=0.25),
    norm_bbox=True)
head_train_cfg = dict(
    pts=dict(
        point_cloud_range=point_cloud_range,
        grid_size=[128, 128, 1],
        voxel_size=[0.5, 0.5, 8],
        out_size_factor=2,
        dense_reg=1,
        gaussian_overlap=0.1,
        max_objs=200,
        min_radius=2,
        code_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2]))
head_test_cfg = dict(
    pts=dict(
        pc_range=point_cloud_range[:2],
        post_center_limit_range=[-40.0, -40.0, -10.0, 40.0, 40.0, 10.0],
        max_per_img=150,
        max_pool_nms=False,
        min_radius=[4],
        score_threshold=0.,
        out_size_factor=2,
        voxel_size=[0.5, 0.5],
        nms_type='rotate',
        pre_max_size=150,
        post_max_size=150,
        nms_thr=0.2))

max_iters = 800
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=10.))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0., by_epoch=False, begin=50, end=max_iters)
]
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=max_iters),
    sampler_seed=dict(type='DistSamplerSeedHook'))
log_processor = dict(type='LogProcessor', window_size=10, by_epoch=False)
custom_hooks = [dict(type='mmkd.ExactResumeHook')]
randomness = dict(seed=0)
