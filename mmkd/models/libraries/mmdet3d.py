"""mmdetection3d: detectors of LiDAR, of one camera and of several, and mmkd's own BEV detectors.

Inputs are a dict: ``points`` (a list of (P, 3 or more)), ``voxels`` (a dict), ``imgs``
(B, 3, H, W) or, of N cameras, (B, N, 3, H, W).
"""
import copy

import torch
from mmdet.models.detectors import SingleStageDetector
from mmdet.models.detectors.base import BaseDetector
from mmdet3d.models.detectors import ImVoxelNet, MVXTwoStageDetector
from mmdet3d.models.detectors.single_stage import SingleStage3DDetector
from mmdet3d.structures import LiDARInstance3DBoxes

from ..extras import OF_ANY_BATCH
from ..mistakes import Mistakes
from ..values import map_leaves
from .mmdet3d_batches import bare_samples, make_batch  # noqa: F401 - the library's, too
from .mmdet3d_bev import bev_range, layout, module_of  # noqa: F401 - the library's, too
from .mmdet3d_checks import HOW, check_batch  # noqa: F401 - the library's, too
from .mmdet3d_cpu import check_kernels
from .mmdet3d_grids import check_grids, watch_maps  # noqa: F401 - the library's, too
from .mmdet3d_heads import center_head
from .mmdet3d_inputs import (  # noqa: F401 - the library's, too
    SIZES,
    input_channels,
    input_sizes,
    num_classes,
    reads,
)
from .mmdet3d_names import MEANINGS, tap_names  # noqa: F401 - the library's, too
from .mmdet3d_voxels import pair_voxels

SAME_IN_TRAINING = True
SHARED = {}


def owns(model):
    """Whether it is a detector of mmdet3d or of a class that inherits from one."""
    return isinstance(model, BaseDetector) and any(
        cls.__module__.startswith('mmdet3d.') for cls in type(model).__mro__)


def called(model):
    """What a user recognises the model by: its class and its backbone."""
    _, backbone = module_of(model, 'img_backbone', 'pts_backbone', 'backbone')
    return type(model).__name__ + (f' on {type(backbone).__name__}' if backbone is not None else '')


def facts(model):
    return dict(num_classes=num_classes(model))


def settle(model):
    """Any weights will do."""


def check_parts(model, called):
    """Refuse a detector that cannot run here, or whose parts lie on different grids.

    Raises:
        ValueError: What is wrong, line by line.
    """
    mistakes = Mistakes()
    for check in (check_kernels, check_grids):
        mistakes.catch('', check, model, called)
    mistakes.raise_any()


# ---- running ----------------------------------------------------------------------------------
def forward(model, inputs, data_samples, paths=(), shared=None):
    """Run the detector as in inference, to what its head gives: no boxes are made."""
    inputs = map_leaves(_alias, inputs)
    if isinstance(model, MVXTwoStageDetector):
        metas = [sample.metainfo for sample in data_samples]
        return model.pts_bbox_head(model.extract_feat(inputs, metas)[1])
    plain = (SingleStage3DDetector._forward, SingleStageDetector._forward, ImVoxelNet._forward)
    if type(model)._forward in plain:
        return model._forward(inputs, data_samples)
    return model.predict(inputs, [copy.copy(sample) for sample in data_samples])


def _alias(x):
    """mmdet3d squeezes the images of a batch of one in place; what is given stays as it is."""
    return x.view_as(x)


def lacks_labels(data_samples):
    """Whether a sample of the batch has no annotation."""
    return not data_samples or any('gt_instances_3d' not in sample for sample in data_samples)


# ---- what losses may ask for ------------------------------------------------------------------
def _instances(batch, what):
    samples = batch.data_samples
    missing = [i for i, sample in enumerate(samples or ())
               if what not in sample.get('gt_instances_3d', ())]
    if not samples or missing:
        raise ValueError(f'a loss asks for {what}, but '
                         + (f'samples {missing} have' if missing else 'the batch has')
                         + f' no gt_instances_3d.{what}: does the train pipeline load annotations '
                         '(LoadAnnotations3D), and pack gt_bboxes_3d and gt_labels_3d?')
    return [sample.gt_instances_3d[what] for sample in samples]


def _boxes_3d(batch):
    """Of each sample (K, 7 or 9) in the LiDAR frame: x, y and z of the center of the bottom, dx
    (along the heading), dy, dz in metres, yaw in radians, and the velocity in x and y where the
    data set has it."""
    found = _instances(batch, 'bboxes_3d')
    kinds = {type(boxes).__name__ for boxes in found if not isinstance(boxes, LiDARInstance3DBoxes)}
    if kinds:
        raise ValueError(f'a loss asks for boxes_3d, which are boxes in the LiDAR frame, but the '
                         f"data's are {', '.join(kinds)}")
    return [boxes.tensor.to(batch.device) for boxes in found]


def _labels_3d(batch):
    """Of each sample (K,) int64; -1 is a class that is not learned."""
    return [labels.long().to(batch.device) for labels in _instances(batch, 'labels_3d')]


def _gt_heatmaps(batch):
    """The student's heatmap targets, (B, K, Y, X) for each task."""
    return batch('student_head').heatmaps()


def _student_head(batch):
    return center_head(batch.student).bind(batch.data_samples)


def _teacher_head(batch):
    model, _, samples = batch.teacher
    return center_head(model).bind(samples)


def _points(batch):
    """Of each sample (P, 3 or more), x, y, z first, in the augmented LiDAR frame."""
    # In the dry run the batch of a camera student has images alone, and that of the teacher points.
    for side in (lambda: batch.inputs, lambda: batch.teacher[1]):
        inputs = side()
        if isinstance(inputs, dict) and inputs.get('points') is not None:
            return inputs['points']
    raise ValueError(f"a loss asks for points, and the batch has none: {HOW['points']}")


def _voxels(batch):
    """The teacher's voxels: a dict with ``coors`` (M, 4) batch, z, y, x and ``num_points``."""
    _, inputs, _ = batch.teacher
    if inputs.get('voxels') is None:
        raise ValueError("a loss asks for teacher_voxels, and the teacher's data_preprocessor "
                         'makes none (voxel=True)')
    return inputs['voxels']


def _voxel_pairs(batch):
    """(2, P) rows of the student's and of the teacher's voxels that lie at the same place."""
    model, inputs, _ = batch.teacher
    mine, theirs = (given.get('voxels') for given in (batch.inputs, inputs))
    if mine is None or theirs is None:
        raise ValueError('a loss asks for teacher_voxel_pairs, and the data_preprocessor of the '
                         f"{'student' if mine is None else 'teacher'} makes no voxels (voxel=True)")
    return pair_voxels(batch.student, mine['coors'], model, theirs['coors'])


EXTRAS = dict(boxes_3d=_boxes_3d, labels_3d=_labels_3d, gt_heatmaps=_gt_heatmaps, points=_points,
              student_head=_student_head, teacher_head=_teacher_head, teacher_voxels=_voxels,
              teacher_voxel_pairs=_voxel_pairs, **OF_ANY_BATCH)


def nothing_to_teach(asked, extras, maps):
    """Does the loss ask for annotations, and no sample has a box on the student's map?"""
    wants = {'boxes_3d', 'labels_3d', 'gt_heatmaps', 'student_head', 'data_samples'}
    if not wants & set(asked):
        return False
    try:
        boxes = torch.cat([one[:, :2] for one in extras('boxes_3d')])
    except ValueError:  # a batch without annotations, of which it asked for something else
        return False
    metres = bev_range(extras.student)
    if metres is None:
        return not len(boxes)
    low, high = boxes.new_tensor(metres).split(2)
    return not ((boxes >= low) & (boxes < high)).all(1).any()
