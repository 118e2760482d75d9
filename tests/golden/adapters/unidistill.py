"""UniDistill's three losses, with the rows that the official code pads boxes with."""
import re

import torch

from mmkd.models.losses.bev import (
    UniDistillFeatureLoss,
    UniDistillRelationLoss,
    UniDistillResponseLoss,
)
from mmkd.models.losses.bev.unidistill import nine_points
from tests.golden.boxes3d import rounded_toward_zero
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

#: of the loss in total, for student from teacher: features, relations, both parts of the response
WEIGHTS = {'camera_from_lidar': (100., 40., 10.), 'camera_from_fusion': (10., 5., 10.),
           'lidar_from_camera': (10., 5., 1.), 'lidar_from_fusion': (10., 1., 10.)}


class Arrays(BareArrays):
    """With the maps of each task."""

    def prefixed(self, name, arrays):
        known = dict(self.known)
        for key in arrays:
            match = re.fullmatch(r'(grad_)?((student|teacher)_(hm|reg)\.task(\d+))', key)
            if match:
                channels = f'{"K" if match[4] == "hm" else "R"}{match[5]}'
                channels = ''.join(chr(ord('a') + int(c)) if c.isdigit() else c for c in channels)
                self.known[key] = (f'grad__loss_total__{match[2]}' if match[1] else f'in__{key}',
                                   f'float? B {channels} H W')
        try:
            return super().prefixed(name, arrays)
        finally:
            self.known = known


ARRAYS = Arrays(
    given={'student_bev': 'float B C H W', 'teacher_bev': 'float B C H W',
           'student_enc': 'float B D H W', 'teacher_enc': 'float B D H W',
           'gt_boxes': 'float B N 10', 'gt_indices': 'int B N'},
    expected={'box_corners_cells': 'float? B N 4 2', 'gaussian_mask': 'float? B H W',
              'loss_feature': 'float', 'loss_bev_rel': 'float', 'loss_resp_cls': 'float',
              'loss_resp_reg': 'float', 'loss_total': 'float'},
    gradients=('student_bev', 'student_enc'), loss='loss_total')


def run(case):
    args = case.arguments(point_cloud_range=None, voxel_size=None, out_size_factor=8,
                          weights=WEIGHTS, min_overlap=.7, teacher_temperature=2.,
                          sigmoid_clamp=1e-4, tasks=None)
    if args['point_cloud_range'] is None:
        raise CaseError(f'{case.name}: the argument point_cloud_range is missing')
    metres = [args['point_cloud_range'][i] for i in (0, 1, 3, 4)]
    rows, kept = case.input('gt_boxes').detach(), case.input('gt_indices').bool()
    boxes = [one[some, :7] for one, some in zip(rows, kept, strict=True)]
    near = {name: loss(case.input(f'student_{tap}'), case.input(f'teacher_{tap}'), boxes, metres)
            for name, loss, tap in (('loss_feature', UniDistillFeatureLoss(), 'bev'),
                                    ('loss_bev_rel', UniDistillRelationLoss(), 'enc'))}
    response = UniDistillResponseLoss(args['teacher_temperature'], args['sigmoid_clamp'],
                                      args['min_overlap'])
    student, teacher = (together(case, f'{side}_hm') for side in ('student', 'teacher'))
    clamp = args['sigmoid_clamp']
    teacher = (teacher / args['teacher_temperature']).sigmoid().clamp(clamp, 1 - clamp)
    # A row of padding has no size, and its radius of 0 draws a spot.
    drawn = [torch.cat([one[:, :3], one[:, 3:6].clamp(min=1e-6), one[:, 6:7]], 1) for one in rows]
    drawn = [rounded_toward_zero(one, metres, student.shape[2:]) for one in drawn]
    parts = response.compare(student, teacher.detach(), together(case, 'student_reg'),
                             together(case, 'teacher_reg').detach(), drawn, metres)
    losses = {**near, 'loss_resp_cls': parts['cls'], 'loss_resp_reg': parts['reg']}
    weights = pair_weights(case, args['weights'])
    total = sum(value * weight for value, weight in zip(
        losses.values(), (*weights, weights[2]), strict=True))
    return Outcome({'loss_total': total, **losses}, {
        'box_corners_cells': corners(rows, metres, student.shape[2:]),
        'gaussian_mask': response.foreground(drawn, metres, student)},
        # a difference of cosines, which are about 1 at a box of no size
        terms={'out__loss_bev_rel': torch.ones(())})


def pair_weights(case, weights):
    """Those of the pair that the official file is for: (camera|lidar)_exp_distill_TEACHER.py."""
    named = re.search(r'(camera|lidar)_exp_distill_(camera|lidar|fusion)', case.source)
    pair = f'{named[1]}_from_{named[2]}' if named else 'camera_from_lidar'
    if pair not in weights:
        raise CaseError(f'{case.name}: no weights of {pair} among {", ".join(weights)}')
    return weights[pair]


def together(case, name):
    """The maps of all tasks, in one."""
    tasks = sorted((key for key in case.inputs if key.startswith(f'{name}.task')),
                   key=lambda key: int(key.rpartition('task')[2]))
    if not tasks:
        raise CaseError(f'{case.name}: no {name}.task0 is recorded')
    return torch.cat([case.inputs[key] for key in tasks], 1)


def corners(rows, metres, size):
    """(B, N, 4, 2) in cells: rear right, rear left, front left, front right."""
    low, high = rows.new_tensor(metres).split(2)
    points = torch.stack([nine_points(one[:, :7])[:, :4] for one in rows])
    return (points - low) / (high - low) * rows.new_tensor([size[1], size[0]])
