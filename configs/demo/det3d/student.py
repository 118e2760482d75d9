# The 3D demo's student: BEVDet on a ResNet-18 of three eighths of the usual width, six cameras.
# It learns depth from the LiDAR, as BEVDepth does: without, boxes are not found in an hour.
_base_ = 'base.py'
model = dict(
    type='mmkd.BEVDet',
    data_preprocessor=dict(
        type='Det3DDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    img_backbone=dict(
        type='mmdet.ResNet',
        depth=18,
        base_channels=24,
        stem_channels=24,
        num_stages=4,
        out_indices=(1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch'),
    img_neck=dict(type='mmkd.FinestFPN', in_channels=[48, 96, 192], out_channels=64),
    img_view_transformer=dict(
        type='mmkd.LSSViewTransformer',
        in_channels=64,
        out_channels=32,
        voxel_size=[1., 1., 8.],
        point_cloud_range={{_base_.point_cloud_range}},
        depth_bins={{_base_.depth_bins}},
        stride={{_base_.feature_stride}},
        depth_supervision=dict(weight=3.)),
    img_bev_encoder_backbone=dict(
        type='SECOND',
        in_channels=32,
        out_channels=[32, 64, 128],
        layer_nums=[1, 2, 2],
        layer_strides=[1, 2, 2],
        norm_cfg={{_base_.bev_encoder_norm}},
        conv_cfg=dict(type='Conv2d', bias=False)),
    img_bev_encoder_neck=dict(
        type='SECONDFPN',
        in_channels=[32, 64, 128],
        out_channels=[32, 32, 32],
        upsample_strides=[1, 2, 4],
        norm_cfg={{_base_.bev_encoder_norm}},
        upsample_cfg=dict(type='deconv', bias=False)),
    pts_bbox_head={{_base_.head}},
    train_cfg={{_base_.head_train_cfg}},
    test_cfg={{_base_.head_test_cfg}})
