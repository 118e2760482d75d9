"""Every loss with the arguments to try it with: what the property tests run on.

A new loss needs one line in ``ENTRIES``.
"""
import copy
from collections.abc import Callable
from typing import NamedTuple

import torch

import mmkd.models  # noqa: F401  (registers the losses)
from mmkd.registry import MODELS

CLASSES = 3
BANK = dict(num_classes=CLASSES, pixel_memory_size=12, region_memory_size=6,
            pixel_contrast_size=6, region_contrast_size=3)


def labels_for(n, h, w):
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, CLASSES, (n, h, w), generator=generator)
    labels[:, 0, :] = 255
    return dict(labels=labels)


def nothing_for(n, h, w):
    return {}


class Head(NamedTuple):
    """A detector's head: places in the middle of cells, two anchors at each, and boxes that are
    what its regression map says. A tuple, so that it can be compared."""
    strides: tuple = (2, 4, 8, 16, 1)
    num_classes: int = CLASSES

    def points(self, sizes):
        return [(torch.cartesian_prod(torch.arange(h), torch.arange(w)).flip(1) + .5) * stride
                for stride, (h, w) in zip(self.strides, sizes, strict=False)]

    def anchors(self, sizes):
        return [(points[:, None].repeat(1, 2, 2) + stride * torch.tensor(
            [[-1., -1., 1., 1.], [-3., -1., 3., 1.]])).reshape(-1, 4)
            for stride, points in zip(self.strides, self.points(sizes), strict=False)]

    def decode(self, reg):
        sizes = [x.shape[2:] for x in reg]
        return [points.repeat(1, 2) + x.permute(0, 2, 3, 1).flatten(1, 2)
                for x, points in zip(reg, self.points(sizes), strict=True)]


def boxes_for(n, h, w):
    """Two objects in the first image, one in each other one."""
    several = torch.tensor([[0., 0., .7, .6], [.4, .3, 1., 1.]]) * torch.tensor([w, h, w, h])
    return dict(boxes=[several if i == 0 else several[1:] for i in range(n)],
                padded_size=(h, w))


def sized_boxes_for(n, h, w):
    """The same; the first image is smaller than the batch."""
    sizes = [(max(h - 2, 1), max(w - 1, 1)) if i == 0 else (h, w) for i in range(n)]
    return dict(boxes_for(n, h, w), image_sizes=sizes)


def boxes_3d_for(n, h, w):
    """Two objects in the first sample, one in each other one, on a map of w x h metres."""
    several = torch.tensor([[.2, .3, 0., .3, .2, 1., .5], [.7, .6, 0., .2, .4, 1., 2.]])
    several = several * torch.tensor([w, h, 1., w, h, 1., 1.])
    return dict(boxes_3d=[several if i == 0 else several[1:] for i in range(n)],
                bev_range=(0., 0., float(w), float(h)))


def gt_heatmaps_for(n, h, w):
    generator = torch.Generator().manual_seed(4)
    return dict(gt_heatmaps=[torch.rand(n, k, h, w, generator=generator) for k in (2, 1)])


def anchors_for(n, h, w):
    return dict(boxes_for(n, h, w), student_head=Head())


def predictions_for(n, h, w):
    return dict(boxes=boxes_for(n, h, w)['boxes'], teacher_head=Head(),
                box_labels=[torch.tensor([0, 2][:2 - min(i, 1)]) for i in range(n)])


def with_predictions(x):
    """A map as a tap of several: itself and, of its size, what a teacher predicts."""
    if x.dim() != 4:
        return dict(feature=[x], cls=[], reg=[])
    generator, (n, _, h, w) = torch.Generator().manual_seed(3), x.shape
    reg = 3 * torch.rand(n, 4, h, w, generator=generator)
    reg[:, :2] *= -1
    return dict(feature=[x], cls=[torch.randn(n, CLASSES, h, w, generator=generator)], reg=[reg])


def with_heatmaps(x):
    """A map as a tap of several: itself and, of its size, what two tasks of a CenterHead give."""
    if x.dim() != 4:
        return dict(bev=x, heatmap=[], reg=[])
    generator, (n, _, h, w) = torch.Generator().manual_seed(3), x.shape
    return dict(bev=x, heatmap=[torch.randn(n, k, h, w, generator=generator) for k in (2, 1)],
                reg=[torch.rand(n, 10, h, w, generator=generator) for _ in range(2)])


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
