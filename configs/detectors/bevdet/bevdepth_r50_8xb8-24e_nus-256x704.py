# BEVDet with BEVDepth's camera-aware depth network and depth learnt from the LiDAR.
_base_ = [
    '../../_base_/models/bevdepth_r50.py', '../../_base_/datasets/nus-bev-256x704.py',
    '../../_base_/schedules/bevdet_24e.py', 'mmdet3d::_base_/default_runtime.py'
]
train_pipeline = [
    dict(type='mmkd.LoadCameraImages', cameras={{_base_.cameras}}),
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='mmkd.MultiViewImageAug', size=(256, 704)),
    dict(type='mmkd.BEVAug'),
    dict(type='mmkd.PointsToDepthMaps', stride=16, depth_range=(1., 60.)),
    dict(type='ObjectRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    dict(
        type='mmkd.PackBEVInputs', keys=['img', 'gt_bboxes_3d', 'gt_labels_3d', 'gt_depth_maps'])
]
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            modality=dict(use_lidar=True),
            data_prefix=dict(pts='samples/LIDAR_TOP', sweeps='sweeps/LIDAR_TOP'),
            pipeline=train_pipeline)))
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3))
