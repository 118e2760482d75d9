"""Cameras around a car, and small detectors and batches for them."""
import numpy as np
import torch

from mmkd.models.bev.geometry import camera_matrices

SIZE = (64, 176)
RANGE = (-32., -48., -5., 32., 48., 3.)  # x and y differ, so that an exchange of axes shows
CELL = (2., 2., 8.)
CLASSES = ('car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle',
           'bicycle', 'pedestrian', 'traffic_cone')


def facing(yaw, position):
    """(4, 4) LiDAR -> camera that looks along ``yaw`` (0: along x) from ``position``."""
    forward = np.array([np.cos(yaw), np.sin(yaw), 0.])
    right, down = np.array([np.sin(yaw), -np.cos(yaw), 0.]), np.array([0., 0., -1.])
    matrix = np.eye(4)
    matrix[:3, :3] = [right, down, forward]
    matrix[:3, 3] = -matrix[:3, :3] @ position
    return matrix


def rig(cameras=6, size=SIZE, focal=100.):
    """Metainfo of cameras all around, each with its own intrinsics."""
    yaws = np.pi / 2 + 2 * np.pi * np.arange(cameras) / cameras
    places = [(.5 * np.cos(yaw), .5 * np.sin(yaw), -.3) for yaw in yaws]
    intrinsics = [np.array([[focal + i, 0, size[1] / 2 - i], [0, focal + i, size[0] / 2 + i],
                            [0, 0, 1.]]) for i in range(cameras)]
    return dict(cam2img=intrinsics,
                lidar2cam=[facing(yaw, place) for yaw, place in zip(yaws, places, strict=True)],
                img_aug_matrix=[np.eye(4) for _ in yaws], lidar_aug_matrix=np.eye(4))


def augmented(meta, seed=0):
    """The same cameras with other images and another scene: a scaled, flipped and shifted one."""
    random = np.random.default_rng(seed)
    meta = dict(meta, img_aug_matrix=[], lidar_aug_matrix=np.diag([1.1, -1.1, 1.1, 1.]))
    for _ in meta['cam2img']:
        angle, flip = random.uniform(-.1, .1), random.choice([-1., 1.])
        matrix = np.eye(4)
        matrix[:2, :2] = np.array([[np.cos(angle), -np.sin(angle)],
                                   [np.sin(angle), np.cos(angle)]]) @ np.diag([flip * .9, .9])
        matrix[:2, 3] = (176 if flip < 0 else 0) + random.uniform(-5, 5), random.uniform(-5, 5)
        meta['img_aug_matrix'].append(matrix)
    return meta


def cameras_of(*metas):
    return camera_matrices(list(metas))


def tiny_model(frames=1, **view):
    """The config of a BEVDet for images of 64 x 176."""
    norm = dict(type='BN', eps=1e-3, momentum=.01)
    return dict(
        type='mmkd.BEVDet' if frames == 1 else 'mmkd.BEVDet4D', _scope_='mmdet3d',
        data_preprocessor=dict(type='Det3DDataPreprocessor', mean=[123.675, 116.28, 103.53],
                               std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
        img_backbone=dict(type='mmdet.ResNet', depth=18, base_channels=8, stem_channels=8,
                          num_stages=4, out_indices=(2, 3), norm_eval=False,
                          norm_cfg=dict(type='BN'), style='pytorch'),
        img_neck=dict(type='mmkd.FinestFPN', in_channels=[32, 64], out_channels=16),
        img_view_transformer=dict(dict(
            type='mmkd.LSSViewTransformer', in_channels=16, out_channels=8, voxel_size=CELL,
            point_cloud_range=RANGE, depth_bins=(1., 41., 2.), stride=16), **view),
        img_bev_encoder_backbone=dict(
            type='SECOND', in_channels=8 * frames, out_channels=[8, 16], layer_nums=[1, 1],
            layer_strides=[1, 2], norm_cfg=norm, conv_cfg=dict(type='Conv2d', bias=False)),
        img_bev_encoder_neck=dict(
            type='SECONDFPN', in_channels=[8, 16], out_channels=[8, 8], upsample_strides=[1, 2],
            norm_cfg=norm, upsample_cfg=dict(type='deconv', bias=False)),
        pts_bbox_head=dict(
            type='CenterHead', in_channels=16,
            tasks=[dict(num_class=4, class_names=list(CLASSES[:4])),
                   dict(num_class=6, class_names=list(CLASSES[4:]))],
            common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
            share_conv_channel=8,
            bbox_coder=dict(type='CenterPointBBoxCoder', pc_range=list(RANGE[:2]),
                            post_center_range=[-61.2, -61.2, -10., 61.2, 61.2, 10.], max_num=20,
                            score_threshold=.05, out_size_factor=4, voxel_size=[.5, .5],
                            code_size=9),
            separate_head=dict(type='SeparateHead', init_bias=-2.19, final_kernel=3, head_conv=8),
            loss_cls=dict(type='mmdet.GaussianFocalLoss', reduction='mean'),
            loss_bbox=dict(type='mmdet.L1Loss', reduction='mean', loss_weight=.25),
            norm_bbox=True),
        train_cfg=dict(pts=dict(
            point_cloud_range=list(RANGE), grid_size=[128, 192, 1], voxel_size=[.5, .5, 8],
            out_size_factor=4, dense_reg=1, gaussian_overlap=.1, max_objs=50, min_radius=2,
            code_weights=[1.] * 10)),
        test_cfg=dict(pts=dict(
            pc_range=list(RANGE[:2]), post_center_limit_range=[-61.2, -61.2, -10., 61.2, 61.2, 10.],
            max_per_img=20, max_pool_nms=False, min_radius=[4, 4], score_threshold=.05,
            out_size_factor=4, voxel_size=[.5, .5], nms_type='rotate', pre_max_size=50,
            post_max_size=20, nms_thr=.2)))


def tiny_fusion():
    """The config of a BEVFusion of that BEVDet and pillars of 1 m."""
    camera, norm = tiny_model(), dict(type='BN', eps=1e-3, momentum=.01)
    return dict(
        camera, type='mmkd.BEVFusion',
        data_preprocessor=dict(camera['data_preprocessor'], voxel=True, voxel_layer=dict(
            max_num_points=5, point_cloud_range=list(RANGE), voxel_size=[1., 1., 8.],
            max_voxels=(2000, 2000))),
        pts_voxel_encoder=dict(
            type='PillarFeatureNet', in_channels=5, feat_channels=[8], with_distance=False,
            voxel_size=(1., 1., 8.), point_cloud_range=list(RANGE),
            norm_cfg=dict(type='BN1d', eps=1e-3), legacy=False),
        pts_middle_encoder=dict(type='PointPillarsScatter', in_channels=8, output_shape=(96, 64)),
        pts_backbone=dict(type='SECOND', in_channels=8, out_channels=[12], layer_nums=[1],
                          layer_strides=[2], norm_cfg=norm,
                          conv_cfg=dict(type='Conv2d', bias=False)),
        pts_fusion_layer=dict(type='ConvModule', in_channels=8 + 12, out_channels=8, kernel_size=3,
                              padding=1, norm_cfg=norm))


def tiny_item(boxes=2, meta=None, depth=False, seed=0):
    """What a pipeline gives of one sample: images of each camera, boxes, metainfo."""
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
    from mmengine.structures import InstanceData
    random = torch.Generator().manual_seed(seed)
    meta = rig() if meta is None else meta
    count = len(meta['cam2img'])
    sample = Det3DDataSample()
    sample.set_metainfo(dict(meta, box_type_3d=LiDARInstance3DBoxes, sample_idx=seed))
    rows = torch.rand(boxes, 9, generator=random) * 10 + .5
    sample.gt_instances_3d = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(rows, box_dim=9),
        labels_3d=torch.randint(0, 10, (boxes,), generator=random))
    if depth:
        sample.gt_depth_maps = torch.rand(6, SIZE[0] // 16, SIZE[1] // 16, generator=random) * 45
    image = torch.randint(0, 256, (count, 3, *SIZE), generator=random, dtype=torch.uint8)
    return dict(inputs=dict(img=image), data_samples=sample)
