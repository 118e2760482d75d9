# A BEVDet that a CPU can train: images of 160x448, a ResNet-18 of half the width without weights,
# 128 x 128 cells of 0.8 m.
_base_ = ['../../configs/detectors/bevdet/bevdepth_r18_8xb8-24e_nus-256x704.py']
model = dict(
    img_backbone=dict(base_channels=32, stem_channels=32, out_indices=(1, 2, 3), init_cfg=None,
                      with_cp=False),
    img_neck=dict(in_channels=[64, 128, 256], out_channels=64),
    img_view_transformer=dict(
        in_channels=64, out_channels=32, stride=8,
        depth_net=dict(mid_channels=64, dcn=False), depth_supervision=dict(weight=1.)),
    img_bev_encoder_backbone=dict(
        in_channels=32, out_channels=[32, 64], layer_nums=[1, 2], layer_strides=[1, 2]),
    img_bev_encoder_neck=dict(
        in_channels=[32, 64], out_channels=[32, 32], upsample_strides=[1, 2]),
    pts_bbox_head=dict(in_channels=64, share_conv_channel=32,
                       separate_head=dict(head_conv=32)))
# Nothing is drawn at random: the same picture every time.
train_pipeline = [
    dict(type='mmkd.LoadCameraImages', cameras={{_base_.cameras}}),
    dict(type='LoadPointsFromFile', coord_type='LIDAR', load_dim=5, use_dim=5),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='mmkd.MultiViewImageAug', size=(160, 448), test_mode=True),
    dict(type='mmkd.PointsToDepthMaps', stride=8, depth_range=(1., 60.)),
    dict(type='ObjectRangeFilter', point_cloud_range={{_base_.point_cloud_range}}),
    dict(type='ObjectNameFilter', classes={{_base_.class_names}}),
    dict(
        type='mmkd.PackBEVInputs',
        keys=['img', 'points', 'gt_bboxes_3d', 'gt_labels_3d', 'gt_depth_maps'])
]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
