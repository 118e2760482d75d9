"""DistillBEV, with the convolution of the student that the official loss owns, if it has one."""
import re

import numpy as np
import torch
from torch.func import functional_call

from mmkd.models.connectors import ConvConnector
from mmkd.models.losses.bev import DistillBEVLoss
from mmkd.models.losses.bev.distillbev_regions import box_regions, count_of, share_of
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

LOSSES = {'kd_fg_feat_loss': 'fg', 'kd_bg_feat_loss': 'bg', 'kd_channel_loss': 'channel',
          'kd_spatial_loss': 'spatial', 'kd_fp_bg_feat_loss': 'fp'}
#: official arguments -> ours; a list has one item for each pair of maps
NAMES = {'spatial_t': 'spatial_t', 'channel_t': 'channel_t', 'spatial_mask': 'spatial_mask',
         'channel_mask': 'channel_mask', 'spatial_student_ratio': 'spatial_student_ratio',
         'spatial_attentions': 'spatial_attention', 'scale_mask': 'scale_mask',
         'fg_feat_loss_weights': 'fg_feat_loss_weight',
         'bg_feat_loss_weights': 'bg_feat_loss_weight',
         'channel_loss_weights': 'channel_loss_weight',
         'spatial_loss_weights': 'spatial_loss_weight', 'context_length': 'context_length',
         'context_weight': 'context_weight', 'fp_as_foreground': 'fp_as_foreground',
         'fp_weight': 'fp_weight', 'fp_scale_mode': 'fp_scale_mode',
         'output_threshold': 'output_threshold', 'groundtruth_threshold': 'groundtruth_threshold'}
#: what is not here: other regions, terms, criteria
FIXED = {'teacher_adaptation_type': 'identity', 'avg_fg_scale_mask': False,
         'feat_criterion': {'type': 'MSELoss', 'reduction': 'none'},
         'spatial_criterion': {'type': 'L1Loss', 'reduction': 'none'},
         'channel_criterion': {'type': 'L1Loss', 'reduction': 'none'}, 'transpose_mask': False,
         'foreground_mask': 'gt', 'background_mask': 'logical_not', 'affinity_mode': 'none',
         'non_empty_weight': 0}
IGNORED = ('student_channels', 'teacher_channels', 'student_feat_pos', 'teacher_feat_pos',
           'two_stage_epoch', 'affinity_weights', 'affinity_criterion', 'affinity_split',
           'multi_scale_epoch', 'gauss_fg_weight')
#: the student's convolution -> its kernel
ADAPTATIONS = {'1x1conv': 1, '3x3conv': 3, 'identity': None}
HEATMAP = re.compile(r'(?=.*(?:hm|heatmap|prob|pred|logits))(?!grad|loss)[\w.]+')


class Arrays(BareArrays):
    """With heatmaps, one for each task or one of all, where there are false positives."""

    def prefixed(self, name, arrays):
        heatmaps = {key: value for key, value in arrays.items()
                    if key not in self.known and HEATMAP.fullmatch(key) and value.ndim == 4}
        known = super().prefixed(name, {key: value for key, value in arrays.items()
                                        if key not in heatmaps})
        return known | {f'in__{key}': value for key, value in heatmaps.items()}


ARRAYS = Arrays(
    given={'student_feat': 'float B Cs H W', 'teacher_feat': 'float B Ct H W',
           'adapter_weight': 'float? Ct Cs J J', 'adapter_bias': 'float? Ct',
           'spatial_conv_weight': 'float? 1 1 3 3', 'spatial_conv_bias': 'float? 1',
           'boxes_old': 'float? K D', 'boxes_new': 'float K D', 'box_sample': 'int K'},
    expected={'fg_mask': 'float? B 1 H W', 'fg_scale': 'float? B 1 H W',
              'bg_scale': 'float? B 1 H W', 'fp_mask': 'float? B 1 H W',
              'fp_scale': 'float? B 1 H W', 'loss_total': 'float',
              **{f'loss.{name}': 'float?' for name in LOSSES}},
    gradients=('student_feat', 'adapter_weight'), loss='loss_total')
ARRAYS.known |= {f'grad_{name}': (f'grad__loss_total__{name}', f'float? {shape}')
                 for name, shape in (('adapter_bias', 'Ct'), ('spatial_conv_bias', '1'),
                                     ('spatial_conv_weight', '1 1 3 3'))}


def run(case):
    args = case.arguments(**dict.fromkeys((*NAMES, *FIXED, *IGNORED)), fp_epoch=0,
                          adaptation_type='1x1conv')
    options = {ours: one(args[name]) for name, ours in NAMES.items() if name in case.args}
    if case.info.get('epoch', args['fp_epoch']) < args['fp_epoch']:
        options['fp_as_foreground'] = 'none'
    options['scale_mask'] = options.get('scale_mask', 'combine_gt') or None  # '' is no scaling
    for name, value in FIXED.items():
        if name in case.args and one(args[name]) != value:
            raise CaseError(f'{case.name}: {name}={args[name]!r}, but mmkd has {value!r} alone')
    student, teacher = case.input('student_feat'), case.input('teacher_feat')
    boxes, sample = case.input('boxes_new').detach(), case.input('box_sample')
    boxes = [boxes[sample == i] for i in range(len(teacher))]
    extent = metres(case)
    loss = DistillBEVLoss(**options).to(case.dtype)
    aligned = adapted(case, one(args['adaptation_type']), student, teacher)
    weights = {f'spatial_conv.{part}': case.input(f'spatial_conv_{part}')
               for part in ('weight', 'bias') if loss.spatial_mask}
    given, size = (aligned, teacher, boxes, extent), teacher.shape[2:]
    outputs = box_regions(boxes, extent, size, **loss.context)._asdict()
    outputs['fg_mask'] = outputs['foreground']
    if loss.fp_as_foreground != 'none':
        gt, student_logits, teacher_logits = heatmaps(case)
        given = (dict(feature=aligned, heatmap=student_logits),
                 dict(feature=teacher, heatmap=teacher_logits), boxes, extent, gt)
        scale = loss.masks(boxes, extent, size, (gt, teacher_logits, student_logits))[2]
        outputs |= {'fp_mask': (scale > 0).to(case.dtype), 'fp_scale': scale}
        # recorded before the false positives leave the background, or after
        rest = share_of(size.numel() - count_of(outputs['fg_mask']) - count_of(scale > 0))
        recorded = case.expected.get('out__bg_scale')
        if recorded is not None and not np.allclose(recorded[:, 0], outputs['bg_scale']):
            outputs['bg_scale'] = rest.expand_as(scale)
    parts = functional_call(loss, weights, given)
    named = {f'loss.{name}': parts[ours] for name, ours in LOSSES.items() if ours in parts}
    return Outcome({'loss_total': sum(parts.values()), **named}, outputs)


def adapted(case, kind, student, teacher):
    """The student's map after the official loss' convolution."""
    if kind not in ADAPTATIONS:
        raise CaseError(f'{case.name}: adaptation_type={kind!r}, but mmkd has '
                        f'{", ".join(ADAPTATIONS)} alone')
    if ADAPTATIONS[kind] is None:
        return student
    align = ConvConnector(student.shape[1], teacher.shape[1], ADAPTATIONS[kind]).to(case.dtype)
    return functional_call(align, {'conv.weight': case.input('adapter_weight'),
                                   'conv.bias': case.input('adapter_bias')}, (student,))


def one(value):
    """The value of the only pair of maps."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def metres(case):
    """(x_min, y_min, x_max, y_max) of the case's grid."""
    grid = case.info.get('grid') or {}
    if 'point_cloud_range' not in grid:
        raise CaseError(f'{case.name}: the json does not say the point_cloud_range of its grid')
    return [grid['point_cloud_range'][i] for i in (0, 1, 3, 4)]


def heatmaps(case):
    """Ground truth, and the student's and the teacher's logits; a list for each.

    Whose a map is its name says. Recorded probabilities (the official student's are, after its
    head's own loss) become logits.
    """
    found = dict(gt=[], student=[], teacher=[])
    for name in sorted(case.inputs):
        if HEATMAP.fullmatch(name):
            x = case.inputs[name].detach()
            side = next((side for side in ('student', 'teacher') if side in name), 'gt')
            probabilities = side != 'gt' and x.numel() and 0 <= x.min() and x.max() <= 1
            found[side].append(torch.logit(x.double()) if probabilities else x)
    missing = [side for side, maps in found.items() if not maps]
    if missing:
        raise CaseError(f"{case.name}: no heatmap of {', '.join(missing)} is recorded")
    return found['gt'], found['student'], found['teacher']
