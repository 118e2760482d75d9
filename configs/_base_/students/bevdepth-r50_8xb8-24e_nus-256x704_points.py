# BEVDepth-R50 whose train pipeline loads what a LiDAR teacher reads, too: ten sweeps. Depth is
# supervised by the points of the one sweep at the images' time: in earlier ones what moves is
# elsewhere. The student reads images alone, in training as in testing.
_base_ = [
    '../models/bevdepth_r50.py', '../datasets/nus-bev-256x704_points.py',
    '../schedules/bevdet_24e.py', 'mmdet3d::_base_/default_runtime.py'
]
train_pipeline = [
    dict(type='mmkd.LoadCameraImages', cameras={{_base_.cameras}}), {{_base_.load_scan}},
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='mmkd.MultiViewImageAug', size=(256, 704)),
    dict(type='mmkd.PointsToDepthMaps', stride=16, depth_range=(1., 60.)),
    {{_base_.load_sweeps}},
    dict(type='mmkd.BEVAug'),
    dict(type='PointsRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    dict(
        type='mmkd.PackBEVInputs',
        keys=['img', 'points', 'gt_bboxes_3d', 'gt_labels_3d', 'gt_depth_maps'])
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3))
