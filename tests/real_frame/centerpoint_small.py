# mmdet3d's CenterPoint on pillars, small enough for a CPU: the same range and cells as
# bevdet_r18_small.py, from one sweep.
_base_ = ['mmdet3d::centerpoint/centerpoint_pillar02_second_secfpn_8xb4-cyclic-20e_nus-3d.py']
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
classes = [
    'car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle', 'bicycle',
    'pedestrian', 'traffic_cone'
]
voxel_size = [0.4, 0.4, 8]
model = dict(
    data_preprocessor=dict(
        voxel_layer=dict(voxel_size=voxel_size, point_cloud_range=point_cloud_range)),
    pts_voxel_encoder=dict(
        feat_channels=[32], voxel_size=voxel_size, point_cloud_range=point_cloud_range),
    pts_middle_encoder=dict(in_channels=32, output_shape=(256, 256)),
    pts_backbone=dict(
        in_channels=32, out_channels=[32, 64], layer_nums=[1, 2], layer_strides=[2, 2]),
    pts_neck=dict(in_channels=[32, 64], out_channels=[32, 32], upsample_strides=[1, 2]),
    pts_bbox_head=dict(
        in_channels=64,
        share_conv_channel=32,
        tasks=[dict(num_class=10, class_names=classes)],
        separate_head=dict(head_conv=32),
        bbox_coder=dict(
            voxel_size=voxel_size[:2], out_size_factor=2, pc_range=point_cloud_range[:2])),
    train_cfg=dict(pts=dict(
        grid_size=[256, 256, 1], voxel_size=voxel_size, out_size_factor=2,
        point_cloud_range=point_cloud_range)),
    test_cfg=dict(pts=dict(
        voxel_size=voxel_size[:2], out_size_factor=2, pc_range=point_cloud_range[:2])))
# Nothing is drawn at random: the same sweep every time.
train_pipeline = [
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='PointsRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectNameFilter', classes=classes),
    dict(type='Pack3DDetInputs', keys=['points', 'gt_bboxes_3d', 'gt_labels_3d'])
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
