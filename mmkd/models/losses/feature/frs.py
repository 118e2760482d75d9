"""FRS, feature richness score (Du et al., "Distilling Object Detectors with Feature Richness",
NeurIPS 2021).

Places where the teacher sees any object teach, whether one is annotated there or not. The
student's feature passes a 3x3 convolution per level first (``ConvConnector(kernel_size=3)``). The
official runs raise both weights linearly over the first 500 iterations, which is the term's
schedule.
"""
import torch.nn.functional as F
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..full_precision import full_precision
from ..maps import check_maps, need_taps, prepare, ratio
from ..resize import resize_to

TAPS = ('feature', 'cls')


@MODELS.register_module()
class FRSLoss(nn.Module):
    """Errors of the feature and of the class scores, weighted by how rich a place is.

    A place's richness is the largest sigmoid of the teacher's class scores there, over anchors and
    classes. Both losses are divided by its sum over the batch:

    * 'feat': sum of richness * (T - S)^2;
    * 'cls': sum of richness * binary cross-entropy of the student's scores with the teacher's.

    The taps are called ``feature`` and ``cls``; for the RPN of a two-stage detector, ``cls`` is its
    objectness. Where nothing is rich at all (all sigmoids 0) both are 0, and the official 0/0.

    Scale per level: a mean over places, summed over channels: alike on all levels.

    Args:
        feat_weight: weight of 'feat'; officially 0.005 for RetinaNet, 0.01 for FCOS, 0.1 for GFL,
            0.002 for Faster R-CNN.
        cls_weight: weight of 'cls'; officially 0.02 for RetinaNet, 0.05 for FCOS and GFL, 0.1 for
            Faster R-CNN.
        from_logits: True computes the cross-entropy from the scores. False: from their sigmoids,
            as the official code does, whose logarithms end at -100 and whose gradient vanishes
            where a sigmoid is rounded to 0 or 1 (beyond 17 in float32, where it would be largest).

    Sizes: the student's maps are resized bilinearly to the teacher's height and width, and the
        richness to that of the feature.
    """

    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, feat_weight=0.005, cls_weight=0.02, from_logits=True):
        super().__init__()
        self.weights = dict(feat=feat_weight, cls=cls_weight)
        self.from_logits = from_logits

    def forward(self, student, teacher):
        """Compares the features and the class scores of a level.

        Args:
            student (dict): ``feature`` (N, C, H, W) and ``cls`` (N, K, H, W), raw scores.
            teacher (dict): the same, (N, C, H', W') and (N, K, H', W').

        Returns:
            dict: 'feat' and 'cls', each times its weight.

        Raises:
            ValueError: if a tap is missing, or batch sizes or channels differ.
        """
        for side, value in (('student', student), ('teacher', teacher)):
            need_taps('FRSLoss', side, value, TAPS)
        pairs = {tap: (student[tap], teacher[tap]) for tap in TAPS}
        for tap, pair in pairs.items():
            check_maps(f'FRSLoss, {tap}', *pair, same_channels=True)
        if not all(x.numel() for pair in pairs.values() for x in pair):
            return {name: zero_of(student[tap]) for name, tap in zip(self.weights, TAPS,
                                                                     strict=True)}
        with full_precision(student['cls']):
            return self.compare(*(prepare(*pair) for pair in pairs.values()))

    def compare(self, features, scores):
        """Both losses of two pairs (student's, teacher's) of maps of one size each."""
        richness = scores[1].sigmoid().amax(1, keepdim=True)
        losses = dict(feat=(features[1] - features[0]).square(), cls=self.cross_entropy(*scores))
        parts = {}
        for name, loss in losses.items():
            rich = resize_to(richness, loss.shape[2:])
            mean = ratio((rich * loss).sum(), rich.sum())
            parts[name] = self.weights[name] * mean
        return parts

    def cross_entropy(self, student, teacher):
        """Of each score with the teacher's sigmoid, (N, K, H, W)."""
        target = teacher.sigmoid()
        if self.from_logits:
            return F.binary_cross_entropy_with_logits(student, target, reduction='none')
        return F.binary_cross_entropy(student.sigmoid(), target, reduction='none')

    def extra_repr(self):
        return f'weights={self.weights}, from_logits={self.from_logits}'
