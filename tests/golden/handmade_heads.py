"""Reference cases of methods on dense heads: mmdet's own losses and plain loops over anchors.

Labels are those that mmdet's heads train with; the formulas are those of the official code, with
its divisors and its defects.
"""
import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS

from tests.dense_heads import BOXES, build_head, head_config, samples

SIZE = (64, 64)
EPS = torch.finfo(torch.float32).eps  # what mmdet adds to what it divides by
#: kind -> boxes per image, image size, factor of all scores
KINDS = {
    'ordinary': (BOXES, SIZE, 1.), 'batch_of_one': (BOXES[:1], SIZE, 1.),
    'no_box_in_one': ((BOXES[0], []), SIZE, 1.), 'no_box': (([], []), SIZE, 1.),
    'outside': (([[-60., -60., -9., -9.], [50., 40., 90., 99.]], [[70., 70., 80., 80.]]), SIZE, 1.),
    'zero_size_and_all': (([[20., 20., 20., 20.], [5., 30., 40., 30.]], [[0., 0., 64., 64.]]),
                          SIZE, 1.),
    'level_without_positives': (([[20., 20., 34., 34.]], []), SIZE, 1.),
    'one_row': (([[2., -4., 30., 7.]], [[40., -2., 66., 8.]]), (8, 96), 1.),
    'one_value': (([[2., 1., 30., 28.]],), (32, 32), 1.),
    'extreme': (BOXES, SIZE, 300.), 'confident': (BOXES, SIZE, 12.)}
KL = 'KnowledgeDistillationKLDivLoss'
GFL_ARGS = dict(num_classes=5, reg_max=7, strides=[8, 16, 32], octave_base_scale=8, topk=9,
                loss_im=dict(type='IMLoss', loss_weight=0.), imitation_method='finegrained')
LD_ARGS = dict(GFL_ARGS, loss_ld=dict(type=KL, loss_weight=0.25, T=10),
               loss_ld_vlr=dict(type=KL, loss_weight=0.5, T=5),
               loss_kd=dict(type=KL, loss_weight=10., T=2))
BCKD_ARGS = dict(
    GFL_ARGS, loss_ld=dict(type=KL, loss_weight=0., T=10),
    loss_ld_vlr=dict(type=KL, loss_weight=0., T=10), loss_kd=dict(type='NovelKDLoss'),
    loss_kd_vlr=dict(type='NovelKDLoss', loss_weight=0.),
    loss_score_kd=dict(type='GIoULoss', loss_weight=4.),
    loss_score_kd_vlr=dict(type='GIoULoss', loss_weight=0.))


class Scene:
    """Inputs of a kind, and the labels that a head of mmdet trains with on them."""

    def __init__(self, kind, head, channels, seed=0):
        self.boxes, self.size, factor = KINDS[kind]
        self.head = head
        generator = torch.Generator().manual_seed(seed)
        self.maps = {}
        for level, stride in enumerate((8, 16, 32)):
            height, width = (-(-side // stride) for side in self.size)
            for name, count in channels.items():
                x = factor * torch.randn(len(self.boxes), count, height, width,
                                         generator=generator)
                self.maps[f'{name}_{level}'] = x.requires_grad_(not name.startswith('tea'))
        self.truth = [torch.tensor(box).reshape(-1, 4) for box in self.boxes]

    def levels(self, name):
        return [self.maps[f'{name}_{level}'] for level in range(3)]

    def rows(self, name, dim):
        """(N*H*W*A, dim) per level."""
        return [x.permute(0, 2, 3, 1).reshape(-1, dim) for x in self.levels(name)]

    def arrays(self, losses, total, names):
        """The arrays of a case: inputs, ``losses`` by name, the total and its gradients."""
        arrays = {f'in.{key}': x.detach().numpy() for key, x in self.maps.items()}
        for i, truth in enumerate(self.truth):
            arrays[f'in.gt_bboxes_{i}'] = truth.numpy()
            arrays[f'in.gt_labels_{i}'] = np.arange(len(truth))
        arrays['in.img_shape'] = np.array(self.size)
        arrays |= {f'out.{key}': x.detach().numpy() for key, x in losses.items()}
        arrays['out.kd_total'] = total.detach().numpy()
        leaves = {key: self.maps[key] for key in self.maps if key.rsplit('_', 1)[0] in names}
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        for (key, leaf), grad in zip(leaves.items(), found, strict=True):
            arrays[f'grad.kd.{key}'] = (torch.zeros_like(leaf) if grad is None else grad).numpy()
        return arrays


def trained_labels(scene, sizes):
    """Labels and label weights (rows per level), priors per level and the number of positives."""
    truth = [sample.gt_instances for sample in samples(scene.boxes, size=scene.size)]
    metas = [dict(img_shape=scene.size, pad_shape=scene.size)] * len(truth)
    if hasattr(scene.head, 'regress_ranges'):
        points = scene.head.prior_generator.grid_priors(sizes, device='cpu')
        labels, targets = scene.head.get_targets(points, truth)
        centre = sum(scene.head.centerness_target(t[label < 5]).sum()
                     for t, label in zip(targets, labels, strict=True))
        return labels, [torch.ones(len(x)) for x in labels], points, max(centre, 1e-6) + EPS
    anchors, valid = scene.head.get_anchors(sizes, metas, device='cpu')
    priors = anchors[0]
    targets = scene.head.get_targets(anchors, valid, truth, metas)
    labels, weights = targets[-5:-3]
    return ([x.flatten() for x in labels], [x.flatten() for x in weights], priors,
            torch.tensor(float(targets[-1])))


def region(anchors, counts, truth):
    """LD's valuable region of an image, anchor by anchor."""
    def common(a, b):
        return (max(min(a[2], b[2]) - max(a[0], b[0]), 0)
                * max(min(a[3], b[3]) - max(a[1], b[1]), 0))

    def area(a):
        return (a[2] - a[0]) * (a[3] - a[1])

    def centre(a):
        return np.array([a[0] + a[2], a[1] + a[3]]) / 2

    weights = np.zeros(len(anchors))
    for box in truth:
        ious, dious, apart = [], [], []
        for a in anchors:
            inter = common(a, box)
            ious.append(inter / max(area(a) + area(box) - inter, 1e-6))
            around = (max(a[2], box[2]) - min(a[0], box[0]), max(a[3], box[3]) - min(a[1], box[1]))
            apart.append(((centre(a) - centre(box)) ** 2).sum())
            dious.append(inter / area(a) - apart[-1] / (around[0] ** 2 + around[1] ** 2 + 1e-6))
        chosen, start = [], 0
        for count in counts:
            nearest = torch.tensor(np.sqrt(apart[start:start + count]), dtype=torch.float32)
            chosen += [start + int(i) for i in nearest.topk(min(9, count), largest=False)[1]]
            start += count
        picked = np.array(ious)[chosen]
        threshold = picked.mean() + picked.std(ddof=1)
        for i, diou in enumerate(dious):
            if 0.25 * threshold <= diou < threshold:
                weights[i] = max(weights[i], ious[i])
    return weights


def ld_arrays(kind):
    scene = Scene(kind, build_head('GFLHead'),
                  dict(stu_cls=5, tea_cls=5, stu_reg=32, tea_reg=32))
    sizes = [x.shape[-2:] for x in scene.levels('stu_cls')]
    labels, weights, anchors, _ = trained_labels(scene, sizes)
    counts, images = [len(x) for x in anchors], len(scene.boxes)
    regions = np.stack([region(torch.cat(anchors).numpy(), counts, truth.numpy())
                        for truth in scene.truth])
    regions = torch.tensor(regions, dtype=torch.float32).split(counts, 1)
    losses = {}
    for i, label in enumerate(labels):
        cls, t_cls = (scene.rows(f'{side}_cls', 5)[i] for side in ('stu', 'tea'))
        reg, t_reg = (scene.rows(f'{side}_reg', 32)[i].reshape(len(label), 4, 8)
                      for side in ('stu', 'tea'))
        positive, zero = label < 5, reg.sum() * 0
        parts = dict(loss_ld=zero, loss_ld_vlr=zero, loss_kd=zero)
        kl = {name: MODELS.build(dict(LD_ARGS[name], type=f'mmdet.{KL}')) for name in parts}
        if positive.any():
            score = cls.detach().sigmoid().max(1)[0][positive].repeat_interleave(4)
            parts['loss_ld'] = kl['loss_ld'](reg[positive].reshape(-1, 8),
                                             t_reg[positive].reshape(-1, 8), score, avg_factor=4.)
            parts['loss_kd'] = kl['loss_kd'](cls[positive], t_cls[positive],
                                             weights[i][positive], avg_factor=positive.sum())
        v = regions[i].reshape(-1)
        if (v > 0).any():
            parts['loss_ld_vlr'] = kl['loss_ld_vlr'](
                reg[v > 0].reshape(-1, 8), t_reg[v > 0].reshape(-1, 8),
                v[v > 0].repeat_interleave(4), avg_factor=16.)
        losses |= {f'{name}_{i}': value for name, value in parts.items()}
    arrays = scene.arrays(losses, sum(losses.values()), ('stu_cls', 'stu_reg'))
    for i, v in enumerate(regions):
        arrays[f'mid.vlr_{i}'] = v.reshape(images, -1).numpy()
        arrays[f'mid.labels_{i}'] = labels[i].reshape(images, -1).numpy()
    return LD_ARGS, arrays


def ld_mmdet33_arrays(kind):
    """By mmdet's own head."""
    args = head_config('LDHead', loss_ld=dict(type=KL, loss_weight=0.25, T=10))
    scene = Scene(kind, MODELS.build(args), dict(stu_cls=5, stu_reg=32, tea_reg=32))
    truth = [sample.gt_instances for sample in samples(scene.boxes, size=scene.size)]
    metas = [dict(img_shape=scene.size, pad_shape=scene.size)] * len(truth)
    found = scene.head.loss_by_feat(scene.levels('stu_cls'), scene.levels('stu_reg'), truth,
                                    metas, scene.levels('tea_reg'))['loss_ld']
    losses = {f'loss_ld_{i}': value for i, value in enumerate(found)}
    arrays = scene.arrays(losses, sum(found), ('stu_cls', 'stu_reg'))
    del arrays['out.kd_total']
    return args | {'type': 'LDHead'}, arrays


def bckd_arrays(kind):
    scene = Scene(kind, build_head('GFLHead'),
                  dict(stu_cls=5, tea_cls=5, stu_reg=32, tea_reg=32))
    sizes = [x.shape[-2:] for x in scene.levels('stu_cls')]
    labels, weights, anchors, count = trained_labels(scene, sizes)
    giou, losses = MODELS.build(dict(type='mmdet.GIoULoss', loss_weight=4.)), {}
    for i, (label, stride) in enumerate(zip(labels, (8, 16, 32), strict=True)):
        s, t = (scene.rows(f'{side}_cls', 5)[i] for side in ('stu', 'tea'))
        centre = (anchors[i][:, :2] + anchors[i][:, 2:]) / 2 / stride
        centre = centre.repeat(len(scene.boxes), 1)
        boxes = [scene.head.bbox_coder.decode(
            centre, scene.head.integral(scene.rows(f'{side}_reg', 32)[i]))
            for side in ('stu', 'tea')]
        losses |= {f'loss_kd_{i}': s.sum() * 0, f'loss_score_kd_{i}': s.sum() * 0}
        if (label < 5).any():
            apart = (t.sigmoid() - s.sigmoid()).abs()
            bce = F.binary_cross_entropy_with_logits(s, t.sigmoid(), reduction='none')
            losses[f'loss_kd_{i}'] = ((bce * apart).sum(1) * weights[i]).sum() / count
            losses[f'loss_score_kd_{i}'] = giou(
                *boxes, weight=apart.detach().max(1)[0] * weights[i], avg_factor=count)
    return BCKD_ARGS, scene.arrays(losses, sum(losses.values()), ('stu_cls', 'stu_reg'))
