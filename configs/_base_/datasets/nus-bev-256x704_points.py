# nuScenes for two networks on one batch, one of cameras and one of LiDAR: images as in
# nus-bev-256x704.py and ten sweeps, under the same augmentation of the scene. Validation is that
# of a network of cameras.
_base_ = ['nus-bev-256x704.py']
load_scan = dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5)
load_sweeps = dict(
    type='LoadPointsFromMultiSweeps',
    sweeps_num=9,
    use_dim=[0, 1, 2, 3, 4],
    pad_empty_sweeps=True,
    remove_close=True)
train_pipeline = [
    dict(type='mmkd.LoadCameraImages', cameras={{_base_.cameras}}), load_scan, load_sweeps,
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='mmkd.MultiViewImageAug', size=(256, 704)),
    dict(type='mmkd.BEVAug'),
    dict(type='PointsRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    dict(type='mmkd.PackBEVInputs', keys=['img', 'points', 'gt_bboxes_3d', 'gt_labels_3d'])
]
data_prefix = dict(pts='samples/LIDAR_TOP', sweeps='sweeps/LIDAR_TOP')
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            modality=dict(use_lidar=True), data_prefix=data_prefix, pipeline=train_pipeline)))
