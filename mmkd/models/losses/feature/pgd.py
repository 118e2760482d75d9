"""PGD, prediction-guided distillation (Yang et al., ECCV 2022).

The features after the first block of a one-stage head's two towers are compared where the teacher
predicts objects well (see ``pgd_weights.py``), the classification tower's also on background.
Both losses tap several things: ``feature`` on both sides, and of the teacher its predictions,

    student_tap=dict(feature='bbox_head.cls_convs.0[:]'),
    teacher_tap=dict(feature='bbox_head.cls_convs.0[:]', cls='cls', reg='reg')

What the official code does otherwise: with several images on a GPU it multiplies every image with
the masks of all images of the batch (``cross_image``); for heads without anchors it exchanges x
and y when it asks whether a place is inside a box (``transposed``); and its GFL head decodes all
levels of the i-th image with the stride of level i. The published numbers come from that code.
"""
from torch import nn

from mmkd.registry import MODELS

from ..closed_form import zero_of
from ..maps import check_levels, empty_loss, need_taps, prepare
from .pgd_weights import weight_maps


def channel_attention(x, temp):
    """(N, C, ...), at every place C * softmax of |x| / temp over the channels."""
    return x.shape[1] * (x.abs() / temp).softmax(1)


def spatial_attention(x, temp):
    """(N, H, W), H * W * softmax of the mean of |x| over channels, / temp, over the places."""
    mean = x.abs().mean(1)
    return mean[0].numel() * (mean.flatten(1) / temp).softmax(1).reshape(mean.shape)


class _PredictionGuided(nn.Module):
    """What both losses have in common: the checks, and the maps of weights."""

    pyramid = True
    same_channels = True  # the distiller refuses unequal channels when it is built

    def __init__(self, temp, topk, quality_alpha, low_bound, transposed, num_classes):
        super().__init__()
        if not temp > 0:
            raise ValueError(f'temp={temp}: the temperature must be greater than 0')
        if topk < 1:
            raise ValueError(f'topk={topk}: expected at least 1')
        if not 0 <= quality_alpha <= 1:
            raise ValueError(f'quality_alpha={quality_alpha}: expected a number from 0 to 1')
        self.temp = temp
        self.topk = topk
        self.quality_alpha = quality_alpha
        self.low_bound = low_bound
        self.transposed = transposed
        self.num_classes = num_classes

    def features(self, student, teacher):
        """Both sides' features as lists of maps, checked."""
        name = type(self).__name__
        for side, taps, needed in (('student', student, ['feature']),
                                   ('teacher', teacher, ['feature', 'cls', 'reg'])):
            need_taps(name, side, taps, needed)
        return check_levels(name, student['feature'], teacher['feature'], same_channels=True)

    def weights(self, teacher, boxes, box_labels, head):
        """Maps of how well the teacher predicts, and of background: lists of (N, H, W)."""
        classes = head.num_classes
        if self.num_classes not in (None, classes):
            raise ValueError(f'{type(self).__name__}: the teacher tells {classes} classes apart, '
                             f'the student {self.num_classes}: its boxes are of other classes')
        for x in teacher['cls']:
            if x.shape[1] % classes:
                raise ValueError(f"{type(self).__name__}: the teacher's cls map has {x.shape[1]} "
                                 f'channels, no multiple of its {classes} classes: heads with one '
                                 'sigmoid for each class are needed')
        return weight_maps(teacher['cls'], teacher['reg'], boxes, box_labels, head,
                           transposed=self.transposed, topk=self.topk, alpha=self.quality_alpha,
                           low_bound=self.low_bound)


@MODELS.register_module()
class PGDClsLoss(_PredictionGuided):
    """Features of the classification tower: on objects, on background, and where each side looks.

    The squared error is weighted with the teacher's attention, over the places of a map and, at
    every place, over the channels. The weights of objects and of background are divided by the
    number of places that have any, image by image; a map without such places gives zero.

    Scale per level: the errors are sums over channels but means over places; the attention over
    places counts H * W times as much as that over channels, so large levels weigh more there.

    Args:
        alpha: factor of the error on objects: 0.04 for FCOS and GFL, 0.08 for ATSS.
        beta: factor of the error on background; half of ``alpha`` if None.
        delta: factor of the difference of the attentions.
        temp: temperature of the attentions.
        level_weights: factors of alpha and beta for the levels, finest first.
        topk: number of places of an object: 9 for ATSS, 30 for FCOS and GFL.
        quality_alpha: how much the overlap counts for the quality of a place, from 0 to 1.
        low_bound: weights of places below it become 0.
        cross_image: whether every image is compared where any image of the batch has objects and
            background, as the official code does with more than one image.
        transposed: whether x and y of a place are exchanged when it is asked if the place is
            inside a box, as in the official code for heads without anchors.
        num_classes: the student's; found by the dry run if None.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.

    Raises:
        ValueError: if ``temp``, ``topk`` or ``quality_alpha`` is out of range.
    """

    def __init__(self, alpha=0.08, beta=None, delta=8e-4, temp=0.8,
                 level_weights=(1., 1.25, 1.5, 1.75, 2.), topk=9, quality_alpha=0.8,
                 low_bound=0., cross_image=False, transposed=False, num_classes=None):
        super().__init__(temp, topk, quality_alpha, low_bound, transposed, num_classes)
        self.alpha = alpha
        self.beta = alpha / 2 if beta is None else beta
        self.delta = delta
        self.level_weights = list(level_weights)
        self.cross_image = cross_image

    def forward(self, student, teacher, boxes, box_labels, teacher_head):
        """Return the three losses.

        Args:
            student: dict, ``feature``: a list of (N, C, H, W), one per level.
            teacher: dict, ``feature``: a list of (N, C, H', W'); ``cls`` and ``reg``: what its
                head predicts, raw, of all its levels.
            boxes: N tensors (n, 4), xyxy in pixels of the padded batch.
            box_labels: N tensors (n,).
            teacher_head: the teacher's head, which decodes ``reg``.

        Returns:
            dict: ``fg``, ``bg`` and ``attention``, scalars.

        Raises:
            ValueError: if a tap is missing, batch sizes, channels or the numbers of levels or of
                classes differ, or there are more levels than ``level_weights``.
        """
        students, teachers = self.features(student, teacher)
        if len(students) > len(self.level_weights):
            raise ValueError(f'PGDClsLoss: {len(students)} levels, but level_weights has only '
                             f'{len(self.level_weights)}')
        weights = self.weights(teacher, boxes, box_labels, teacher_head)
        parts = [self.parts(*sides) for sides in zip(students, teachers, *weights, strict=True)]
        factors = self.level_weights[:len(parts)]
        fg, bg = (sum(f * part[i] for f, part in zip(factors, parts, strict=True))
                  for i in range(2))
        return dict(fg=self.alpha * fg, bg=self.beta * bg,
                    attention=self.delta * sum(part[2] for part in parts))

    def parts(self, student, teacher, fg, bg):
        """One level's losses before their factors; ``fg`` and ``bg``: (N, H', W')."""
        empty = empty_loss(student, teacher)
        if empty is not None:
            return (empty,) * 3
        student, teacher = prepare(student, teacher)
        places = spatial_attention(teacher, self.temp)
        channels = channel_attention(teacher, self.temp)
        error = ((student - teacher).square() * channels).sum(1) * places
        losses = []
        for mask in (fg, bg):
            mask = mask / (mask != 0).sum((1, 2), keepdim=True).clamp(min=1)
            if self.cross_image:
                mask = mask.sum(0, keepdim=True)
            losses.append((error * mask).sum() / len(error))
        attention = ((channel_attention(student, self.temp) - channels).abs().sum()
                     / error.numel()
                     + (spatial_attention(student, self.temp) - places).abs().sum() / len(error))
        return *losses, attention

    def extra_repr(self):
        return (f'alpha={self.alpha}, beta={self.beta}, delta={self.delta}, temp={self.temp}, '
                f'topk={self.topk}, quality_alpha={self.quality_alpha}')


@MODELS.register_module()
class PGDRegLoss(_PredictionGuided):
    """Features of the regression tower, at the places that have a weight; no other counts.

    The squared error is weighted with the teacher's attention over the channels and with the
    place's weight; both it and the difference of the attentions are averaged over these places,
    of all images. A level without any gives zero.

    Scale per level: a mean over places and channels, whatever the level's size.

    Args:
        gamma: factor of the error; 1.6 times the ``alpha`` of PGDClsLoss.
        delta: factor of the difference of the attentions.
        temp: temperature of the attentions.
        topk: number of places of an object: 9 for ATSS, 30 for FCOS and GFL.
        quality_alpha: how much the overlap counts for the quality of a place, from 0 to 1.
        low_bound: weights of places below it become 0.
        transposed: see PGDClsLoss.
        num_classes: the student's; found by the dry run if None.

    Sizes: the student's map is resized bilinearly to the teacher's height and width.

    Raises:
        ValueError: if ``temp``, ``topk`` or ``quality_alpha`` is out of range.
    """

    chooses_places = True  # a batch may have none

    def __init__(self, gamma=0.128, delta=8e-4, temp=0.8, topk=9, quality_alpha=0.6,
                 low_bound=0., transposed=False, num_classes=None):
        super().__init__(temp, topk, quality_alpha, low_bound, transposed, num_classes)
        self.gamma = gamma
        self.delta = delta

    def forward(self, student, teacher, boxes, box_labels, teacher_head):
        """Return the two losses.

        Args:
            student, teacher: as for PGDClsLoss, ``feature`` from the regression tower.
            boxes: N tensors (n, 4), xyxy in pixels of the padded batch.
            box_labels: N tensors (n,).
            teacher_head: the teacher's head, which decodes ``reg``.

        Returns:
            dict: ``feature`` and ``attention``, scalars.

        Raises:
            ValueError: if a tap is missing, or batch sizes, channels or the numbers of levels or
                of classes differ.
        """
        students, teachers = self.features(student, teacher)
        weights, _ = self.weights(teacher, boxes, box_labels, teacher_head)
        parts = [self.parts(*sides) for sides in zip(students, teachers, weights, strict=True)]
        feature, attention = (sum(part) for part in zip(*parts, strict=True))
        return dict(feature=self.gamma * feature, attention=self.delta * attention)

    def parts(self, student, teacher, weights):
        """One level's losses before their factors; ``weights``: (N, H', W')."""
        chosen = weights != 0
        if not student.numel() or not chosen.any():
            return (zero_of(student),) * 2
        student, teacher = (x.permute(0, 2, 3, 1)[chosen] for x in prepare(student, teacher))
        attention = channel_attention(teacher, self.temp)
        feature = ((student - teacher).square() * attention).mean(1) * weights[chosen]
        unlike = (channel_attention(student, self.temp) - attention).abs().sum() / len(student)
        return feature.mean(), unlike

    def extra_repr(self):
        return (f'gamma={self.gamma}, delta={self.delta}, temp={self.temp}, topk={self.topk}, '
                f'quality_alpha={self.quality_alpha}')
