"""CRKD's affinity, features in boxes and heads. Recorded maps are (B, C, X, Y), and the student's
heatmaps have been through a sigmoid once."""
import re

import torch

from mmkd.models.losses.bev import CRKDAffinityLoss, CRKDFeatureLoss, CRKDResponseLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

BRANCHES = ('reg', 'height', 'dim', 'rot', 'vel')
LAST_CELL = 179


class Arrays(BareArrays):
    """With the maps and losses of each task and the boxes of each sample."""

    def prefixed(self, name, arrays):
        known = dict(self.known)
        for key in arrays:
            if found := re.fullmatch(r'(grad_)?((student|teacher)_\w+\.task\d+)', key):
                kind = 'grad__loss_total__' if found[1] else 'in__'
                self.known[key] = (kind + found[2], 'float *')
            elif re.fullmatch(r'box_cells\.\d+', key):
                self.known[key] = f'in__{key}', 'any *'
            elif re.fullmatch(r'loss_response\.(heatmap|bbox)_task\d+_kd', key):
                self.known[key] = f'out__{key}', 'float'
        try:
            return super().prefixed(name, arrays)
        finally:
            self.known = known


ARRAYS = Arrays(
    given={'student_feat': 'float B C X Y', 'teacher_feat': 'float B D X Y'},
    expected=dict.fromkeys(('loss_affinity_raw', 'loss_mask_raw', 'loss_total'), 'float'),
    gradients=('student_feat',), loss='loss_total', weights=True)


def run(case):
    args = case.arguments(affinity_scale=0.25, downsample_sizes=(32, 16, 8, 4), mask_scale=10.,
                          task_weights=(2, 2, 2, 1, 2, 1), qfl_beta=2., box_threshold=0.1,
                          released_downsample=None, released_task_weights=None)
    if args['qfl_beta'] != 2:
        raise CaseError(f'{case.name}: qfl_beta must be 2')
    student, teacher = case.input('student_feat'), case.input('teacher_feat').detach()
    affinity = CRKDAffinityLoss(args['downsample_sizes'], bool(case.weights), student.shape[1])
    case.load(affinity, {f'adapters.{i}.{layer}': f'adapt_modules.{i}.conv_channel_layer.{layer}'
                         for i in range(len(args['downsample_sizes'])) for layer in (0, 2)})
    parts = {'loss_affinity_raw': affinity(student, teacher),
             'loss_mask_raw': CRKDFeatureLoss.compare(
                 student.mT, teacher.mT, [rectangles(case, i, student)
                                          for i in range(len(student))])}
    total = args['affinity_scale'] * parts['loss_affinity_raw'] \
        + args['mask_scale'] * parts['loss_mask_raw']
    response = CRKDResponseLoss(threshold=args['box_threshold'])
    tasks = sum(re.fullmatch(r'student_prob\.task\d+', name) is not None for name in case.inputs)
    if tasks != len(args['task_weights']):
        raise CaseError(f'{case.name}: {tasks} tasks and the task_weights {args["task_weights"]}')
    for i, weight in enumerate(args['task_weights']):
        boxes, targets = (torch.cat([case.input(f'{side}_{branch}.task{i}')
                                     for branch in BRANCHES], 1) for side in ('student', 'teacher'))
        found = response.compare(case.input(f'student_prob.task{i}'),
                                 case.input(f'teacher_hm_logits.task{i}').detach(), boxes,
                                 targets.detach())
        for name, value in (('heatmap', found['cls']), ('bbox', found['reg'])):
            parts[f'loss_response.{name}_task{i}_kd'] = weight * value
            total = total + weight * value
    return Outcome({'loss_total': total, **parts})


def rectangles(case, sample, like):
    """(K, 4) x0, y0, x1, y1 of what is recorded as two corners in any order."""
    corners = case.input(f'box_cells.{sample}').detach().to(like).reshape(-1, 2, 2)
    corners = corners.trunc().clamp(0, LAST_CELL)
    return torch.cat([corners.amin(1), corners.amax(1)], 1)
