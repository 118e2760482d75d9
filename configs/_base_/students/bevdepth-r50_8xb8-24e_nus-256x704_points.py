# BEVDepth-R50 whose train pipeline loads what a LiDAR teacher reads, too: ten sweeps, under the
# same augmentation of the scene. The student reads images alone, in training as in testing.
_base_ = ['../../detectors/bevdet/bevdepth_r50_8xb8-24e_nus-256x704.py']
train_pipeline = [
    dict(type='mmkd.LoadCameraImages', cameras={{_base_.cameras}}),
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
    dict(
        type='LoadPointsFromMultiSweeps',
        sweeps_num=9,
        use_dim=[0, 1, 2, 3, 4],
        pad_empty_sweeps=True,
        remove_close=True),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='mmkd.MultiViewImageAug', size=(256, 704)),
    dict(type='mmkd.BEVAug'),
    dict(type='mmkd.PointsToDepthMaps', stride=16, depth_range=(1., 60.)),
    dict(type='PointsRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    dict(
        type='mmkd.PackBEVInputs',
        keys=['img', 'points', 'gt_bboxes_3d', 'gt_labels_3d', 'gt_depth_maps'])
]
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            modality=dict(use_lidar=True),
            data_prefix=dict(pts='samples/LIDAR_TOP', sweeps='sweeps/LIDAR_TOP'),
            pipeline=train_pipeline)))
