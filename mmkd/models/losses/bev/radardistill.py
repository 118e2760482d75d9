"""RadarDistill (Bang et al., "RadarDistill: Boosting Radar-based Object Detection Performance via
Knowledge Distillation from LiDAR Features", CVPR 2024)."""
import torch
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..full_precision import wide
from ..maps import check_levels, need_taps, prepare
from ..resize import resize_to


@MODELS.register_module()
class RadarDistillLoss(nn.Module):
    """Low maps where either sensor sees something, high maps where there are objects.

    A map is active where the sum of its channels is above 0. With the student's maps S and the
    teacher's T,

    * 'afd', of low maps: ``active`` times the sum of (S - T)^2 where both are active, and
      ``radar_only`` times that where only S is, times the ratio of these numbers of cells, divided
      by the batch size; plus the mean of |sigmoid(sum of S) - whether T is active|. The mean over
      the student's low maps, times ``afd_weight``.
    * 'pfd', of high maps: the sum of |softmax S - softmax T|, over the channels. A cell
      where boxes are drawn with more than ``threshold`` weighs ``pfd_pos``, divided by the number
      of these cells; one where they are with less, but the student predicts more, ``pfd_fp``,
      divided by theirs. The mean over the high maps, times ``pfd_weight``.

    Where only S is active nowhere, that part is 0 (in the official code 0 times infinity). Cells
    at exactly the threshold count for nothing.

    mmdet3d has no detector of radar points: this is a loss for a student of yours. It takes the
    taps ``low``, ``high`` and ``heatmap`` of the student and ``low`` and ``high`` of the teacher.
    Low are officially two maps after the encoder and decoder that make the radar's map dense, each
    against one of the LiDAR's backbone; high the map that the head reads, and one before it.

    Args:
        active, radar_only: see above.
        pfd_pos, pfd_fp: see above.
        threshold: of drawn and predicted probabilities.
        afd_weight: of 'afd'.
        pfd_weight: of 'pfd'.

    Sizes: the student's maps, the drawn and the predicted heatmaps are resized bilinearly to the
        teacher's maps.
    """

    pyramid = True  # several maps and tasks at once

    def __init__(self, active=3e-4, radar_only=5e-5, pfd_pos=5., pfd_fp=1., threshold=0.1,
                 afd_weight=5., pfd_weight=25.):
        super().__init__()
        self.active, self.radar_only = active, radar_only
        self.pfd_pos, self.pfd_fp, self.threshold = pfd_pos, pfd_fp, threshold
        self.afd_weight, self.pfd_weight = afd_weight, pfd_weight

    def forward(self, student, teacher, gt_heatmaps):
        """Compares the maps.

        Args:
            student (dict): ``low``, maps (B, C, Y, X), a list or one; ``high``, the same, of other
                channels and cells; ``heatmap``, of each task logits (B, K, Y, X).
            teacher (dict): ``low``, one map for all of the student's or as many; ``high``, as many.
            gt_heatmaps: for each task of the student's head (B, K, Y, X) in [0, 1].

        Returns:
            dict: 'afd' and 'pfd', each times its weight.

        Raises:
            ValueError: if a tap is missing, or numbers of maps, batch sizes or channels differ.
        """
        name = 'RadarDistillLoss'
        need_taps(name, 'student', student, ('low', 'high', 'heatmap'))
        need_taps(name, 'teacher', teacher, ('low', 'high'))
        ours, theirs = (_listed(side['low']) for side in (student, teacher))
        low = check_levels(f'{name}, low', ours, theirs * len(ours) if len(theirs) == 1
                           else theirs, same_channels=True)
        high = check_levels(f'{name}, high', student['high'], teacher['high'], same_channels=True)
        logits = _listed(student['heatmap'])
        afd = [sum(self.activation(*prepare(*pair))) if _filled(*pair) else zero_of(pair[0])
               for pair in zip(*low, strict=True)]
        pfd = [self.proposals(*prepare(*pair), gt_heatmaps, logits) if _filled(*pair)
               else zero_of(pair[0]) for pair in zip(*high, strict=True)]
        return dict(afd=self.afd_weight * sum(afd) / len(afd),
                    pfd=self.pfd_weight * sum(pfd) / len(pfd))

    def activation(self, student, teacher):
        """The feature's and the mask's loss of low maps (B, C, Y, X)."""
        seen, radar = teacher.sum(1) > 0, student.sum(1)
        both, only = (radar > 0) & seen, (radar > 0) & ~seen
        error = (student - teacher).square().sum(1)
        ratio = both.sum().to(error) / only.sum().clamp(min=1)
        feature = self.active * torch.where(both, error, 0.).sum() \
            + self.radar_only * ratio * torch.where(only, error, 0.).sum()
        return feature / len(student), (radar.sigmoid() - seen.to(radar)).abs().mean()

    def proposals(self, student, teacher, gt_heatmaps, logits):
        """The loss of high maps (B, C, Y, X), for the heatmaps (B, K, Y, X) of all tasks."""
        weight = self.weights(gt_heatmaps, logits, teacher.shape[2:]).to(teacher)
        return ((student.softmax(1) - teacher.softmax(1)).abs() * weight).sum()

    @torch.no_grad()
    def weights(self, gt_heatmaps, logits, size):
        """(B, 1, Y, X): what a cell weighs on maps of ``size`` (Y, X)."""
        found = [wide(x).sigmoid().clamp(1e-4, 1 - 1e-4) for x in logits]
        drawn, found = (torch.cat([resize_to(wide(x), size) for x in maps], 1).amax(1, True)
                        for maps in (gt_heatmaps, found))
        # a cell that is predicted with exactly the threshold is none of the official regions
        positive = (drawn > self.threshold) & (found != self.threshold)
        false = (drawn < self.threshold) & (found > self.threshold)
        return sum(share * region.to(found) / region.sum().clamp(min=1) for share, region in (
            (self.pfd_pos, positive), (self.pfd_fp, false)))

    def extra_repr(self):
        return f'threshold={self.threshold}, afd_weight={self.afd_weight}, ' \
               f'pfd_weight={self.pfd_weight}'


def _listed(x):
    return list(x) if isinstance(x, (list, tuple)) else [x]


def _filled(student, teacher):
    return student.numel() and teacher.numel()
