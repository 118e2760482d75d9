"""DistillBEV (Wang et al., "DistillBEV: Boosting Multi-Camera 3D Object Detection with
Cross-Modal Knowledge Distillation", ICCV 2023).

Squared errors of maps seen from above, inside boxes and outside apart, each scaled by its area and
weighted by the teacher's attention. Formula and defaults are those of the official code
(qcraftai/distill-bev) and of its released config for BEVDepth.
"""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..full_precision import full_precision
from ..maps import check_maps, empty_loss, need_taps, prepare
from .distillbev_regions import (
    FALSE_POSITIVES,
    box_regions,
    component_sizes,
    count_of,
    false_positives,
    share_of,
)
from .footprints import check_boxes


@MODELS.register_module()
class DistillBEVLoss(nn.Module):
    """Errors of BEV maps by region, with adaptive scaling and the teacher's attention.

    A cell is foreground if a box covers its corner of the lowest x and y. With S the student's map
    after its connector, T the teacher's, A_s the attention over cells, ``Y*X softmax(mean_C |T| /
    spatial_t)``, and A_c that over channels, ``C softmax(mean_YX |T| / channel_t)``:

    * 'fg': sum of (S - T)^2 A_s A_c s over the foreground, s = max(fg_scale, bg_scale), where
      fg_scale is sqrt(cell's area / footprint) of the first box there, and bg_scale is 1 / number
      of cells without a box, in each sample.
    * 'bg': the same over the rest.
    * 'channel': sum of |mean_YX S - mean_YX T|, with channel_mask.
    * 'spatial': sum of |conv(mean_C S) - mean_C T|, with spatial_mask; conv is 3x3 and trained.
    * 'fp': sum of (S - T)^2 A_s A_c / (size of the region) over false positives, if asked for.
      Those cells belong to no other region.

    All are sums, divided by the batch size. Without boxes 'fg' is 0. Where boxes cover every cell
    the official bg_scale is infinite, and this one 0. Paper and code disagree: the paper has
    false positives and several layers, every released config has neither, and they are off here.
    The official attention is the teacher's alone in the released configs; the paper's is the mean
    of both ('teacher_student').

    Scale per map: 'fg' grows with the boxes and the channels, 'bg' with the channels alone,
    'spatial' with Y*X.

    Args:
        fg_feat_loss_weight: weight of 'fg'; 3e-3 for BEVFormer.
        bg_feat_loss_weight: weight of 'bg'.
        channel_loss_weight: weight of 'channel'.
        spatial_loss_weight: weight of 'spatial'; 1e-3 for BEVFormer.
        spatial_t: temperature of the attention over cells.
        channel_t: temperature of the attention over channels.
        spatial_mask: whether 'fg' and 'bg' have A_s, and there is 'spatial'.
        channel_mask: whether 'fg' and 'bg' have A_c, and there is 'channel'; off for BEVFormer.
        spatial_attention: whose A_s: 'teacher', or 'teacher_student' for (T's + r S's) / (1 + r)
            with r = spatial_student_ratio.
        spatial_student_ratio: the student's part in it.
        scale_mask: 'combine_gt' as above; 'separate_gt': fg_scale in the foreground and bg_scale
            in the rest; 'bg_only': bg_scale everywhere; None: no scaling.
        context_length: boxes are enlarged by so many cells in length and in width. The ring
            around is foreground of weight context_weight; the scale in enlarged boxes is
            cell's area / footprint, without the root, as in the official code.
        context_weight: weight of that ring; 0: there is none.
        fp_as_foreground: where false positives are: 'none'; where the 'teacher' or the 'student'
            says more than output_threshold and no Gaussian of a box reaches
            groundtruth_threshold; 'teacher_selected_student': only what the teacher says is
            below groundtruth_threshold; 'teacher+teacher_selected_student': both. The term then
            taps ``dict(feature='bev', heatmap='heatmap')``.
        fp_weight: weight of 'fp'; the official default is 0.
        fp_scale_mode: size of a region of false positives: 'average', all in the sample, or
            'dfs', those that are connected by their sides.
        output_threshold: probability above which a network sees an object.
        groundtruth_threshold: Gaussian below which there is none; output_threshold if None.

    Sizes: the student's map is resized bilinearly to the teacher's height and width. Heatmaps
        of other sizes are pooled by their maximum, or repeated.

    Raises:
        ValueError: for an unknown option or a temperature that is not positive.
    """

    pyramid = True  # a list of heatmaps, one for each task, is no pyramid

    def __init__(self, fg_feat_loss_weight=1.5e-3, bg_feat_loss_weight=4e-2,
                 channel_loss_weight=0.25, spatial_loss_weight=2.5e-3, spatial_t=0.5,
                 channel_t=0.5, spatial_mask=True, channel_mask=True,
                 spatial_attention='teacher', spatial_student_ratio=1.,
                 scale_mask='combine_gt', context_length=0., context_weight=0.,
                 fp_as_foreground='none', fp_weight=0., fp_scale_mode='average',
                 output_threshold=0.1, groundtruth_threshold=None):
        super().__init__()
        for name, value, known in (
                ('spatial_attention', spatial_attention, ('teacher', 'teacher_student')),
                ('scale_mask', scale_mask, ('combine_gt', 'separate_gt', 'bg_only', None)),
                ('fp_as_foreground', fp_as_foreground, FALSE_POSITIVES),
                ('fp_scale_mode', fp_scale_mode, ('average', 'dfs'))):
            if value not in known:
                raise ValueError(f'DistillBEVLoss: {name}={value!r}, expected one of '
                                 f"{', '.join(map(repr, known))}")
        for name, value in (('spatial_t', spatial_t), ('channel_t', channel_t)):
            if not value > 0:
                raise ValueError(f'DistillBEVLoss: {name}={value!r}, expected a temperature '
                                 'greater than 0')
        self.weights = dict(fg=fg_feat_loss_weight, bg=bg_feat_loss_weight)
        if channel_mask:
            self.weights['channel'] = channel_loss_weight
        if spatial_mask:
            self.weights['spatial'] = spatial_loss_weight
            self.spatial_conv = nn.Conv2d(1, 1, 3, padding=1)
        self.fp_as_foreground = fp_as_foreground
        if fp_as_foreground != 'none':
            self.weights['fp'] = fp_weight
        else:  # then it needs no targets, and the student any head
            self.unused_extras = ('gt_heatmaps',)
        self.spatial_t, self.channel_t = spatial_t, channel_t
        self.spatial_mask, self.channel_mask = spatial_mask, channel_mask
        self.student_ratio = spatial_student_ratio if spatial_attention != 'teacher' else 0.
        self.scale_mask, self.fp_scale_mode = scale_mask, fp_scale_mode
        self.context = dict(context_length=context_length, context_weight=context_weight)
        self.thresholds = (output_threshold, output_threshold if groundtruth_threshold is None
                           else groundtruth_threshold)

    def forward(self, student, teacher, boxes_3d, bev_range, gt_heatmaps=None):
        """Compares the maps; a student of another size is resized bilinearly.

        Args:
            student: (B, C, Y, X), or with false positives a dict with this as 'feature' and the
                logits of the heatmaps, (B, K, Y', X') for each task, as 'heatmap'.
            teacher: the same, (B, C, Y'', X'').
            boxes_3d: list of B (K, 7 or more): x, y, z, dx, dy, dz, yaw in metres and radians.
            bev_range: (x_min, y_min, x_max, y_max) in metres that the maps cover.
            gt_heatmaps: with false positives, the targets of the student's heatmaps.

        Returns:
            dict: 'fg' and 'bg', and 'channel', 'spatial' and 'fp' if they are on, each times its
            weight.

        Raises:
            ValueError: if batch sizes or channels differ, there are boxes of other samples, or
                false positives are asked for and there are no heatmaps.
        """
        heatmaps = None
        if self.fp_as_foreground != 'none':
            for side, value in (('student', student), ('teacher', teacher)):
                need_taps('DistillBEVLoss', side, value, ('feature', 'heatmap'))
            heatmaps = gt_heatmaps, teacher['heatmap'], student['heatmap']
        student, teacher = (x['feature'] if isinstance(x, dict) else x for x in (student, teacher))
        check_maps('DistillBEVLoss', student, teacher, same_channels=True)
        check_boxes('DistillBEVLoss', boxes_3d, len(student))
        empty = empty_loss(student, teacher)
        if empty is not None:
            return dict.fromkeys(self.weights, empty)
        with full_precision(student):
            parts = self.parts(*prepare(student, teacher), boxes_3d, bev_range, heatmaps)
        return {name: weight * parts[name] for name, weight in self.weights.items()}

    def parts(self, student, teacher, boxes, bev_range, heatmaps=None):
        """The losses before their weights; maps of one size, heatmaps of ground truth, teacher
        and student."""
        n, size = len(teacher), teacher.shape[2:]
        fg, bg, fp = self.masks(boxes, bev_range, size, heatmaps)
        place, channel = self.attention(student, teacher)
        error = (student - teacher).square()
        by_channel = (error * channel[:, :, None, None]).sum(1)
        by_cell = by_channel if self.channel_mask else error.sum(1)
        weighted = by_cell * place if self.spatial_mask else by_cell
        parts = dict(fg=(weighted * fg).sum() / n, bg=(weighted * bg).sum() / n)
        if fp is not None:
            parts['fp'] = (by_channel * place * fp).sum() / n
        if self.channel_mask:
            parts['channel'] = (student.mean((2, 3)) - teacher.mean((2, 3))).abs().sum() / n
        if self.spatial_mask:
            mean = self.spatial_conv(student.mean(1, keepdim=True))
            parts['spatial'] = (mean - teacher.mean(1, keepdim=True)).abs().sum() / n
        return parts

    @torch.no_grad()
    def attention(self, student, teacher):
        """Over cells (B, Y, X) and over channels (B, C), of maps (B, C, Y, X)."""
        channels, cells = teacher.shape[1], teacher.shape[2] * teacher.shape[3]
        channel = channels * (teacher.abs().mean((2, 3)) / self.channel_t).softmax(1)
        place = self._over_cells(teacher)
        if self.student_ratio:
            place = (place + self.student_ratio * self._over_cells(student)) / (
                1 + self.student_ratio)
        return cells * place, channel

    def _over_cells(self, x):
        strength = x.abs().mean(1)
        return (strength.flatten(1) / self.spatial_t).softmax(1).view(strength.shape)

    @torch.no_grad()
    def masks(self, boxes, bev_range, size, heatmaps=None):
        """Weights (B, Y, X) of foreground, background and false positives (or None)."""
        foreground, fg_scale, bg_scale = box_regions(boxes, bev_range, size, **self.context)
        background, wrong = foreground == 0, None
        if heatmaps is not None:
            # All tasks' classes together, whatever their numbers.
            gt, teacher, student = (torch.cat(list(maps), 1) for maps in heatmaps)
            found = false_positives(self.fp_as_foreground, foreground, gt, teacher, student,
                                    *self.thresholds)
            background = background & ~found
            count = count_of(found)
            bg_scale = share_of(size[0] * size[1] - count_of(foreground) - count)
            wrong = found / (component_sizes(found) if self.fp_scale_mode == 'dfs'
                             else count.clamp(min=1))
        scale = {'combine_gt': torch.maximum(fg_scale, bg_scale), 'separate_gt': fg_scale,
                 'bg_only': bg_scale, None: 1.}[self.scale_mask]
        rest = {'combine_gt': scale, None: 1.}.get(self.scale_mask, bg_scale)
        return foreground * scale, background * rest, wrong

    def extra_repr(self):
        return (f'weights={self.weights}, scale_mask={self.scale_mask!r}, '
                f'fp_as_foreground={self.fp_as_foreground!r}')
