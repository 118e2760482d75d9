"""A random batch for a detector of mmdet3d, with all that its losses ask for.

Points, images, the cameras' matrices and boxes fit each other: cameras look around as in nuScenes,
where x of the LiDAR frame points right and y forward; a single camera looks along x, as in KITTI.
"""
import math

import numpy as np
import torch
from mmdet3d.structures import (
    Box3DMode,
    CameraInstance3DBoxes,
    DepthInstance3DBoxes,
    Det3DDataSample,
    LiDARInstance3DBoxes,
    PointData,
)
from mmengine.structures import InstanceData
from torch import nn

from .mmdet3d_bev import bev_range, view_transformer
from .mmdet3d_inputs import (
    CAMERAS,
    box_head,
    input_channels,
    is_indoors,
    learns_in_camera,
    num_classes,
    reads,
    views,
)

_POINTS, _BOXES = 512, 3
# where nothing says a range: around a car, and before a camera, in its view
_AROUND, _BEFORE = (-40., -40., -3., 40., 40., 1.), (-2., 3., -1.5, 2., 7., 1.5)


def make_batch(model, size, channels=None):
    """Two samples as the model's data preprocessor gives them: inputs by modality, and samples
    with three boxes each."""
    kinds, number = reads(model), channels or input_channels(model)[0]
    raw = {}
    if 'points' in kinds:
        count = _point_count(model)
        raw['points'] = [_points(model, count, number) for _ in range(2)]
    if 'imgs' in kinds:
        cameras = () if views(model) is None else (views(model),)
        raw['img'] = [torch.randint(0, 256, (*cameras, 3, *size), dtype=torch.uint8)
                      for _ in range(2)]
    samples = [_sample(model, i, size) for i in range(2)]
    for sample, points in zip(samples, raw.get('points', ()), strict=False):
        sample.gt_pts_seg = _parts_of(sample.gt_instances_3d, len(points))
    data = model.data_preprocessor(dict(inputs=raw, data_samples=samples), False)
    return data['inputs'], data['data_samples']


def bare_samples(inputs):
    """Samples, for raw inputs by modality, that know nothing."""
    return [Det3DDataSample() for _ in next(iter(inputs.values()))]


# ---- the scene --------------------------------------------------------------------------------
def _volume(model):
    """(x_min, y_min, z_min, x_max, y_max, z_max) in which there are points and boxes."""
    layer = getattr(model.data_preprocessor, 'voxel_layer', None)
    found = getattr(layer, 'point_cloud_range', None)
    if found is None:
        found = getattr(view_transformer(model), 'point_cloud_range', None)
    if found is None and (flat := bev_range(model)) is not None:
        found = (*flat[:2], _AROUND[2], *flat[2:], _AROUND[5])
    if found is None:
        found = _BEFORE if is_indoors(model) else _AROUND
    return torch.tensor([float(n) for n in found])


def _point_count(model):
    """More points than any layer chooses."""
    chosen = [0]
    for module in model.modules():
        number = getattr(module, 'num_point', None)
        chosen += number if isinstance(number, (list, tuple)) else [number]
    return max(_POINTS, 2 * max(n for n in chosen if isinstance(n, int)))


def _points(model, count, channels):
    low, high = _volume(model).split(3)
    points = torch.rand(count, channels)
    points[:, :3] = low + (0.02 + 0.96 * points[:, :3]) * (high - low)
    return points


def _sample(model, i, size):
    lidar2cam, cam2img = _cameras(views(model), size, is_indoors(model))
    sample = Det3DDataSample(metainfo=dict(
        box_type_3d=_boxes(model), box_mode_3d=Box3DMode.LIDAR, sample_idx=i,
        lidar_aug_matrix=np.eye(4), pcd_rotation=torch.eye(3), pcd_scale_factor=1.,
        pcd_horizontal_flip=False, pcd_vertical_flip=False, pcd_trans=np.zeros(3),
        transformation_3d_flow=[]))
    if size is not None:
        lidar2img = [k @ pose for k, pose in zip(cam2img, lidar2cam, strict=True)]
        one = views(model) is None
        sample.set_metainfo(dict(
            img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size,
            flip_direction=None, trans_mat=np.eye(3) / 4,
            affine_aug=False, num_views=len(cam2img), num_ref_frames=0,
            img_aug_matrix=[np.eye(4) for _ in cam2img],
            **{key: value[0] if one else value for key, value in dict(
                cam2img=cam2img, lidar2cam=lidar2cam, lidar2img=lidar2img,
                ori_cam2img=cam2img, ori_lidar2img=lidar2img,
                depth2img=[matrix[:3, :3] for matrix in lidar2img],
                scale_factor=[np.ones(4) for _ in cam2img],
                flip=[False for _ in cam2img]).items()}))
    _annotate(sample, model, size, cam2img)
    lift = view_transformer(model)
    if getattr(lift, 'depth_weight', None) is not None:
        # A model of two frames in one list of images supervises the depth of the first.
        frames = 2 if hasattr(model, 'grad_previous') else 1
        sample.gt_depth_maps = 2 + 30 * torch.rand(
            CAMERAS // frames, *(length // lift.stride for length in size))
    return sample


def _boxes(model):
    """The kind of boxes; of what learns in the camera's frame, see _annotate."""
    return DepthInstance3DBoxes if is_indoors(model) else LiDARInstance3DBoxes


def _parts_of(boxes, count):
    """What indoor detectors learn of each of ``count`` points: whose it is, and its class."""
    owner = torch.arange(count) % len(boxes.labels_3d)
    return PointData(pts_instance_mask=owner, pts_semantic_mask=boxes.labels_3d[owner])


def _cameras(count, size, along_y=False):
    """lidar2cam and cam2img, lists of (4, 4), of cameras 1.5 m above the ground."""
    if size is None:
        return [], []
    poses, focal = [], max(size) * 0.6
    for i in range(count or 1):
        turn = 2 * math.pi * i / (count or 1) + (math.pi / 2 if count or along_y else 0)
        forward = np.array([math.cos(turn), math.sin(turn), 0])
        rotation = np.stack([[forward[1], -forward[0], 0], [0, 0, -1], forward])
        pose = np.eye(4)
        pose[:3, :3] = rotation
        poses.append(pose)
    matrix = np.eye(4)
    matrix[:2, :3] = [[focal, 0, size[1] / 2], [0, focal, size[0] / 2]]
    return poses, [matrix.copy() for _ in poses]


def _annotate(sample, model, size, cam2img):
    head, classes = box_head(model), num_classes(model) or 1
    if size is not None:
        sides = torch.tensor([size[1], size[0]])
        places = (0.25 + 0.5 * torch.rand(_BOXES, 2)) * sides
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([places - sides / 6, places + sides / 6], 1))
    labels = torch.randint(0, max(classes, 1), (_BOXES,))
    if size is not None:
        sample.gt_instances.labels = labels
    sizes = torch.tensor([[4., 1.9, 1.6]]).expand(_BOXES, -1) + 0.2 * torch.rand(_BOXES, 3)
    yaw = math.pi * (2 * torch.rand(_BOXES, 1) - 1)
    length = _code_size(head)
    rest = torch.randn(_BOXES, length - 7)
    if not learns_in_camera(model):
        low, high = _volume(model).split(3)
        centers = low + (0.1 + 0.8 * torch.rand(_BOXES, 3)) * (high - low)
        boxes = torch.cat([centers, sizes, yaw, rest], 1)
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=_boxes(model)(boxes, box_dim=length), labels_3d=labels)
        return
    depths = 8 + 12 * torch.rand(_BOXES)
    matrix = torch.as_tensor(cam2img[0], dtype=torch.float)
    centers = torch.stack([(places[:, i] - matrix[i, 2]) / matrix[i, i] * depths
                           for i in range(2)] + [depths], 1)
    sample.set_metainfo(dict(box_type_3d=CameraInstance3DBoxes, box_mode_3d=Box3DMode.CAM))
    sample.gt_instances_3d = InstanceData(
        bboxes_3d=CameraInstance3DBoxes(torch.cat([centers, sizes, yaw, rest], 1),
                                        box_dim=length),
        labels_3d=labels, centers_2d=places, depths=depths,
        attr_labels=torch.randint(0, max(getattr(head, 'num_attrs', 1), 1), (_BOXES,)))


def _code_size(head):
    """Numbers of a box: 7, or 9 with a velocity."""
    if isinstance(getattr(head, 'task_heads', None), nn.ModuleList):
        return 9  # its targets have a velocity, predicted or not
    found = [getattr(head, name, None) for name in ('box_code_size', 'bbox_code_size')]
    found.append(getattr(getattr(head, 'bbox_coder', None), 'code_size', None))
    return next((n for n in found if isinstance(n, int) and n in (7, 9)), 7)
