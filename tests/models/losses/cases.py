"""Every loss with the arguments to try it with: what the property tests run on.

A new loss needs one line in ``ENTRIES``.
"""
import copy
from collections.abc import Callable
from typing import NamedTuple

import torch

import mmkd.models  # noqa: F401  (registers the losses)
from mmkd.registry import MODELS

from .given import (
    CLASSES,
    anchors_for,
    boxes_3d_for,
    boxes_for,
    gt_heatmaps_for,
    labels_for,
    nothing_for,
    predictions_for,
    sized_boxes_for,
    with_heatmaps,
    with_predictions,
)

BANK = dict(num_classes=CLASSES, pixel_memory_size=12, region_memory_size=6,
            pixel_contrast_size=6, region_contrast_size=3)


def no_arguments(channels):
    return {}


def itself(x):
    return x


class Entry(NamedTuple):
    """What to try a loss with.

    Attributes:
        variants: constructor arguments to try.
        by_channels: channels -> constructor arguments that depend on them.
        others: N, height, width -> what forward gets besides the maps.
        taps: map -> what forward gets of it, for a loss of several taps or levels.
        identical: what identical inputs give: 'zero'; 'minimum', a value without gradient (the
            entropy of soft targets); or 'any' (a layer that is trained lies between them).
    """
    variants: list
    by_channels: Callable = no_arguments
    others: Callable = nothing_for
    taps: Callable = itself
    identical: str = 'zero'


ENTRIES = {
    'KDLoss': Entry([{}, dict(tau=4.), dict(reduction='batch'), dict(reduction='element')]),
    'CWDLoss': Entry([{}, dict(tau=4.), dict(norm='spatial'),
                      *(dict(norm=norm, divergence='mse')
                        for norm in ('channel', 'channel_mean', 'none'))]),
    'DISTLoss': Entry([dict(eps=1e-14), dict(eps=1e-14, use_sigmoid=True, beta=2.)]),
    'FGFILoss': Entry([{}, dict(form='fpn'), dict(plus_one=True)], others=anchors_for),
    'DeFeatLoss': Entry([{}, dict(wrap=True)], others=boxes_for),
    'PGDClsLoss': Entry([dict(topk=4), dict(topk=4, cross_image=True)], others=predictions_for,
                        taps=with_predictions),
    'PGDRegLoss': Entry([dict(topk=4)], others=predictions_for, taps=with_predictions),
    'ATLoss': Entry([{}, dict(p=1), dict(p=3, signed=True)]),
    'AttnFDLoss': Entry([{}]),
    'FitNetLoss': Entry([{}]),
    'MGDLoss': Entry([dict(alpha_mgd=0.01)]),
    'MonoDistillLoss': Entry([{}, dict(imitation_weight=0.), dict(affinity_weight=0.)],
                             others=boxes_for),
    'PKDLoss': Entry([{}, dict(resize_stu=False)]),
    'FGDLoss': Entry([dict(alpha_fgd=0.1, beta_fgd=0.1, gamma_fgd=0.1, lambda_fgd=0.1),
                      dict(official_boxes=True)],
                     lambda channels: dict(teacher_channels=channels), sized_boxes_for),
    'BEVDistillDenseLoss': Entry([{}, dict(min_overlap=0.5, min_radius=2)], others=boxes_3d_for),
    # projections of its own lie between the sides
    'BEVDistillRelationLoss': Entry(
        [dict(T=0.5, mid_channels=4, num_points=6)],
        lambda channels: dict(student_channels=channels, teacher_channels=channels),
        taps=with_heatmaps, identical='any'),
    # its convolution of the mean map is trained; the student's attention is a constant to the
    # gradient: at a high temperature it is one
    'DistillBEVLoss': Entry(
        [{}, dict(spatial_mask=False, channel_mask=False, scale_mask='separate_gt'),
         dict(spatial_attention='teacher_student', spatial_t=1e9, context_length=1.,
              context_weight=.5)], others=boxes_3d_for, identical='any'),
    'UniDistillFeatureLoss': Entry([{}, dict(transposed=False)], others=boxes_3d_for),
    'UniDistillRelationLoss': Entry([{}, dict(transposed=False)], others=boxes_3d_for),
    'TiGBEVLoss': Entry(
        [dict(num_samples=3, inter_channel_weight=0.), dict(num_samples=3, exact=True,
                                                            inter_channel_weight=0.)],
        lambda channels: dict(student_channels=channels, teacher_channels=channels), boxes_3d_for),
    'CMKDFeatureLoss': Entry([{}, dict(kind='L1', use_nonzero_mask=True)]),
    'CMKDCenterLoss': Entry([dict(cls_weight=0.2, reg_weight=0.)], identical='minimum',
                            taps=lambda x: dict(heatmap=[x], reg=[x[:, :1].repeat(
                                [1, 10] + [1] * (x.dim() - 2))])),
    'FD3DHeatmapLoss': Entry([{}], others=gt_heatmaps_for),
    # with its adapters, something that is trained lies between the sides
    'CRKDAffinityLoss': Entry(
        [dict(sizes=(3, 2))], lambda channels: dict(student_channels=channels), identical='any'),
    'LiDARDistillationLoss': Entry([{}, dict(mode='all')], others=boxes_3d_for),
    'CRKDFeatureLoss': Entry([dict(enlarge=False)], others=boxes_3d_for),
    # of a teacher's cell that is empty it makes very much
    'FSDBEVLoss': Entry([dict(eps=0.1), dict(eps=1.)]),
    'SimDistillResponseLoss': Entry([{}, dict(sigmoid_twice=False, mixed=False)]),
    'FRSLoss': Entry([dict(feat_weight=0.1, cls_weight=0.2)], identical='minimum',
                     taps=lambda x: dict(feature=x, cls=x)),
    # its attention is a constant to the gradient: at a high temperature it is one
    'FBKDLoss': Entry([dict(spatial_T=1e9), dict(spatial_T=1e9, channel_T=1e9, channel_mask=True,
                                                 stride=4)],
                      lambda channels: dict(student_channels=channels, teacher_channels=channels),
                      identical='any'),
    'PointDistillerMapLoss': Entry(
        [dict(num_voxels=7, kneighbours=3), dict(num_voxels=50, kneighbours=50, temperature=1.,
                                                 official_weights=False)],
        lambda channels: dict(student_channels=channels, teacher_channels=channels, channels=5),
        identical='any'),
    'CIRKDMiniBatchLoss': Entry([{}, dict(pooling=True), dict(tau=0.01)]),
    'CIRKDMemoryLoss': Entry([BANK, dict(BANK, queue_rule='class_pure')],
                             lambda channels: dict(teacher_channels=channels), labels_for),
}
#: losses that compare no maps, or need a head -> the test file that has their properties instead
ELSEWHERE = {'BEVDistillSparseLoss': 'test_bevdistill_sparse.py',
             'CRKDResponseLoss': 'test_crkd.py', 'DeFeatRoILoss': 'test_defeat_roi.py',
             'RadarDistillLoss': 'test_radardistill.py', 'SparseKDLoss': 'test_sparsekd.py',
             'ITKDLoss': 'test_itkd.py',
             'PointDistillerLoss': 'test_pointdistiller.py',
             'UniDistillResponseLoss': 'test_unidistill.py',
             'CMKDAnchorLoss': 'test_cmkd.py', 'TiGBEVDepthLoss': 'test_tig_bev_depth.py',
             **dict.fromkeys(('BCKDLoss', 'CrossKDLoss', 'LDLoss'), 'test_box_losses.py')}
REGISTERED = sorted(name for name, cls in MODELS.module_dict.items()
                    if cls.__module__.startswith('mmkd.models.losses'))
VARIANTS = [(name, i) for name in REGISTERED if name in ENTRIES
            for i in range(len(ENTRIES[name].variants))]


class Case:
    """One loss on one pair of maps; every call starts from the same state."""

    def __init__(self, name, variant, shape=(2, 4, 6, 5), other=None, dtype=torch.float32,
                 seed=0):
        self.entry = ENTRIES[name]
        torch.manual_seed(seed)
        other = other or shape
        self.loss = MODELS.build(dict(
            type=f'mmkd.{name}',
            **{**self.entry.variants[variant], **self.entry.by_channels(other[1])}))
        self.loss.to(torch.promote_types(dtype, torch.float32))
        self.student = torch.randn(shape, dtype=torch.float64).to(dtype)
        self.teacher = torch.randn(other, dtype=torch.float64).to(dtype)
        self.others = self.entry.others(shape[0], 2 * max(shape[2], 1), 2 * max(shape[3], 1))

    def run(self, student=None, teacher=None, grad=True, **others):
        """(value, d value / d student); the loss itself stays as it is."""
        torch.manual_seed(1)
        student = (self.student if student is None else student).detach()
        # .requires_grad_() on a view keeps its strides
        student = student.requires_grad_() if grad else student
        teacher = self.teacher if teacher is None else teacher
        value = self.compute(copy.deepcopy(self.loss), student, teacher, **others)
        assert value.shape == ()
        if not grad:
            return value, None
        assert value.requires_grad, 'there is a graph, also where the value is zero'
        gradient, = torch.autograd.grad(value, student)
        assert gradient.dtype == student.dtype and gradient.shape == student.shape
        return value.detach(), gradient

    def compute(self, loss, student, teacher, **others):
        """The value that ``loss`` gives for two maps."""
        return total(loss(self.entry.taps(student), self.entry.taps(teacher),
                          **{**self.others, **others}))

    def finite(self, *args, **kwargs):
        value, gradient = self.run(*args, **kwargs)
        assert torch.isfinite(value) and torch.isfinite(gradient).all(), (value, gradient)
        assert value >= -1e-6
        return value, gradient


def total(value):
    return sum(value.values()) if isinstance(value, dict) else value
