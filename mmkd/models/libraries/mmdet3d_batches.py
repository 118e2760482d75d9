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
    Det3DDataSample,
    LiDARInstance3DBoxes,
)
from mmengine.structures import InstanceData
from torch import nn

from ._tables import pairs_of
from .mmdet3d_bev import bev_parts, bev_range, module_of, view_transformer

#: image sizes (H, W) to try in the dry run; input_sizes has them, for a model may see no images
SIZES = ()
_SIZES = ((64, 64), (128, 128), (256, 256), (512, 512))
#: of those whose pyramids go to stride 128, which must differ from 64
_MONO_SIZES = ((256, 256), (512, 512))
_CAMERAS, _POINTS, _BOXES = 6, 512, 3
_AROUND = (-40., -40., -3., 40., 40., 1.)  # where nothing says a range


def reads(model):
    """Which of 'points' and 'imgs' the model looks at."""
    found = []
    if module_of(model, 'pts_voxel_encoder', 'voxel_encoder', 'pts_backbone')[1] is not None or (
            module_of(model, 'img_backbone', 'neck_3d')[1] is None and not _is_mono(model)):
        found.append('points')
    if module_of(model, 'img_backbone', 'neck_3d')[1] is not None or _is_mono(model):
        found.append('imgs')
    return tuple(found)


def _is_mono(model):
    """Whether it learns boxes in a camera's frame, or lifts images without an ``img_backbone``."""
    kinds = {cls.__name__ for cls in type(model).__mro__}
    return bool(kinds & {'SingleStageMono3DDetector', 'ImVoxelNet', 'DfM'})


def _views(model):
    """How many cameras the model looks through at once; None for single images."""
    several = view_transformer(model) is not None or any(
        cls.__name__ == 'MultiViewDfM' for cls in type(model).__mro__)
    return _CAMERAS if several else None


def box_head(model):
    """The head that gives boxes; None if there is none that is known."""
    return module_of(model, bev_parts(model).get('head', 'bbox_head'), 'bbox_head')[1]


def num_classes(model):
    """Of the head; None where it does not say. A CenterHead has a number for each task."""
    count = getattr(box_head(model), 'num_classes', None)
    return sum(count) if isinstance(count, (list, tuple)) else count


def input_channels(model):
    """Numbers of channels to try, of the points where it reads points: x, y, z, intensity, ..."""
    if 'points' not in reads(model):
        mean = getattr(model.data_preprocessor, 'mean', None)
        return [3 if mean is None else len(mean)]
    count, _ = point_values(model)
    numbers = [count, 4, 5, 3, 6]
    return list(dict.fromkeys(n for n in numbers if isinstance(n, int) and n >= 3))


def point_values(model):
    """(number, whether more are left unread) of the values of a point that the voxel encoder
    reads; None for the number where it does not say."""
    _, encoder = module_of(model, 'pts_voxel_encoder', 'voxel_encoder')
    count = getattr(encoder, 'num_features', getattr(encoder, 'in_channels', None))
    if hasattr(encoder, 'in_channels'):  # what the encoder itself adds to the points
        count -= sum(number for key, number in dict(
            _with_cluster_center=3, _with_voxel_center=3, _with_distance=1).items()
            if getattr(encoder, key, False))
    return count, hasattr(encoder, 'num_features')


def input_sizes(model):
    """Image sizes (H, W) to try; none for a model that sees no images."""
    if 'imgs' not in reads(model):
        return []
    sizes = _MONO_SIZES if _learns_in_camera(model) else _SIZES
    return [*sizes, *pairs_of(getattr(module, 'img_size', None) for module in model.modules())]


def make_batch(model, size, channels=None):
    """Two samples as the model's data preprocessor gives them: inputs by modality, and samples
    with three boxes each."""
    kinds, number = reads(model), channels or input_channels(model)[0]
    raw = {}
    if 'points' in kinds:
        raw['points'] = [_points(model, number) for _ in range(2)]
    if 'imgs' in kinds:
        views = () if _views(model) is None else (_views(model),)
        raw['img'] = [torch.randint(0, 256, (*views, 3, *size), dtype=torch.uint8)
                      for _ in range(2)]
    samples = [_sample(model, i, size) for i in range(2)]
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
    return torch.tensor([float(n) for n in (_AROUND if found is None else found)])


def _points(model, channels):
    low, high = _volume(model).split(3)
    points = torch.rand(_POINTS, channels)
    points[:, :3] = low + (0.02 + 0.96 * points[:, :3]) * (high - low)
    return points


def _sample(model, i, size):
    lidar2cam, cam2img = _cameras(_views(model), size)
    sample = Det3DDataSample(metainfo=dict(
        box_type_3d=LiDARInstance3DBoxes, box_mode_3d=Box3DMode.LIDAR, sample_idx=i,
        lidar_aug_matrix=np.eye(4), pcd_rotation=torch.eye(3), pcd_scale_factor=1.,
        pcd_horizontal_flip=False, pcd_vertical_flip=False, pcd_trans=np.zeros(3),
        transformation_3d_flow=[]))
    if size is not None:
        lidar2img = [k @ pose for k, pose in zip(cam2img, lidar2cam, strict=True)]
        one = _views(model) is None
        sample.set_metainfo(dict(
            img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size,
            scale_factor=np.ones(4), flip=False, flip_direction=None, trans_mat=np.eye(3) / 4,
            affine_aug=False, num_views=len(cam2img), num_ref_frames=0,
            img_aug_matrix=[np.eye(4) for _ in cam2img],
            **{key: value[0] if one else value for key, value in dict(
                cam2img=cam2img, lidar2cam=lidar2cam, lidar2img=lidar2img,
                ori_cam2img=cam2img, ori_lidar2img=lidar2img).items()}))
    _annotate(sample, model, size, cam2img)
    lift = view_transformer(model)
    if getattr(lift, 'depth_weight', None) is not None:
        # A model of two frames in one list of images supervises the depth of the first.
        frames = 2 if hasattr(model, 'grad_previous') else 1
        sample.gt_depth_maps = 2 + 30 * torch.rand(
            _CAMERAS // frames, *(length // lift.stride for length in size))
    return sample


def _cameras(views, size):
    """lidar2cam and cam2img, lists of (4, 4), of cameras 1.5 m above the ground."""
    if size is None:
        return [], []
    poses, focal = [], max(size) * 0.6
    for i in range(views or 1):
        turn = 2 * math.pi * i / (views or 1) + (math.pi / 2 if views else 0)
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
    labels = torch.randint(0, max(classes, 1), (_BOXES,))
    sizes = torch.tensor([[4., 1.9, 1.6]]).expand(_BOXES, -1) + 0.2 * torch.rand(_BOXES, 3)
    yaw = math.pi * (2 * torch.rand(_BOXES, 1) - 1)
    length = _code_size(head)
    rest = torch.randn(_BOXES, length - 7)
    if not _learns_in_camera(model):
        low, high = _volume(model).split(3)
        centers = low + (0.1 + 0.8 * torch.rand(_BOXES, 3)) * (high - low)
        boxes = torch.cat([centers, sizes, yaw, rest], 1)
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=LiDARInstance3DBoxes(boxes, box_dim=length), labels_3d=labels)
        return
    places = (0.25 + 0.5 * torch.rand(_BOXES, 2)) * torch.tensor([size[1], size[0]])
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
    half = torch.tensor([size[1], size[0]]) / 6
    sample.gt_instances = InstanceData(
        bboxes=torch.cat([places - half, places + half], 1), labels=labels)


def _learns_in_camera(model):
    return any(cls.__name__ == 'SingleStageMono3DDetector' for cls in type(model).__mro__)


def _code_size(head):
    """Numbers of a box: 7, or 9 with a velocity."""
    if isinstance(getattr(head, 'task_heads', None), nn.ModuleList):
        return 9  # its targets have a velocity, predicted or not
    found = [getattr(head, name, None) for name in ('box_code_size', 'bbox_code_size')]
    found.append(getattr(getattr(head, 'bbox_coder', None), 'code_size', None))
    return next((n for n in found if isinstance(n, int) and n in (7, 9)), 7)
