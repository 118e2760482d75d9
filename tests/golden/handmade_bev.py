"""Reference cases of losses on maps seen from above, by plain formulas of numpy and torch in
float64, written apart from mmkd's own."""
import math

import numpy as np
import torch

#: x, y, z, w, l, h, yaw of mmdet3d before 1.0, and the sample of each
BOXES = ((1.2, 2.3, 0., 1.6, 4., 1.5, .4), (-4.1, 3.2, 0., 2.5, 2., 1.5, -1.2),
         (0.3, -5.6, 0., 2., 6., 2., 2.4))


def gaussian_map(boxes, low, cell, size, min_overlap=.1, min_radius=1):
    """(size, size) of Gaussians by loops over cells; boxes as in BOXES."""
    drawn = np.zeros((size, size))
    for x, y, _, w, length, *_ in boxes:
        column, row = int((x - low) / cell), int((y - low) / cell)  # toward zero
        if not (0 <= column < size and 0 <= row < size):
            continue
        radius = max(min_radius, int(_radius(length / cell, w / cell, min_overlap)))
        sigma = (2 * radius + 1) / 6
        for i in range(max(row - radius, 0), min(row + radius + 1, size)):
            for j in range(max(column - radius, 0), min(column + radius + 1, size)):
                value = math.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma ** 2))
                drawn[i, j] = max(drawn[i, j], value)
    return drawn


def _radius(height, width, overlap):
    """The least of CornerNet's three, as the codes have it."""
    total, area = height + width, height * width
    return min(
        (total + math.sqrt(total ** 2 - 4 * area * (1 - overlap) / (1 + overlap))) / 2,
        (2 * total + math.sqrt(4 * total ** 2 - 16 * (1 - overlap) * area)) / 2,
        (-2 * overlap * total + math.sqrt(
            4 * overlap ** 2 * total ** 2 - 16 * overlap * (overlap - 1) * area)) / 2)


def bevdistill_dense(boxes=BOXES, sample=(0, 0, 0), channels=3, size=8):
    """(args, arrays) of one sample; without a box 0 / 0 as in the official code."""
    random = np.random.default_rng(0)
    student, teacher = random.standard_normal((2, 1, channels, size, size))
    weight = gaussian_map(boxes, -8., 16 / size, size)
    total = weight.sum()
    with np.errstate(invalid='ignore', divide='ignore'):
        loss = ((student - teacher) ** 2 * weight).sum() / np.float64(total)
        gradient = .01 * 2 * (student - teacher) * weight / np.float64(total)
    args = dict(fg_weight='gt', loss_weight=.01, min_overlap=.1, min_radius=1,
                pc_range=[-8., 8.], voxel_size=1., out_size_factor=16 // size, grid=16)
    return args, {'student_feat': student, 'teacher_feat': teacher,
                  'boxes_old': np.array(boxes).reshape(-1, 7),
                  'box_sample': np.array(sample, dtype=np.int64)[:len(boxes)],
                  'fg_map': weight[None], 'loss_unweighted': loss, 'loss': .01 * loss,
                  'grad_student_feat': gradient}


def bevdistill_relation(batch=1, stages=2, queries=5, channels=3, width=4, size=6):
    """(args, arrays), by autograd of a formula that has one row after the other."""
    generator = torch.Generator().manual_seed(0)
    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)
    student, teacher = draw(2, batch, channels, size, size)
    student.requires_grad_()
    points = draw(stages, batch, queries, 2)
    weights = {}
    for side in ('img', 'pts'):
        for name, shape in {f'{side}_projs.0.0': (width, channels), f'encoder_{side}.0':
                            (width, width), f'encoder_{side}.3': (width, width)}.items():
            weights |= {f'{name}.weight': draw(*shape), f'{name}.bias': draw(shape[0])}
        weights |= {f'encoder_{side}.1.weight': draw(width).abs(),
                    f'encoder_{side}.1.bias': draw(width)}
    leaves = [weights[f'{side}_projs.0.0.weight'].requires_grad_() for side in ('img', 'pts')]

    def vectors(x, side):
        rows = torch.stack([_bilinear(x[b], points[s, b, q]) for b in range(batch)
                            for s in range(stages) for q in range(queries)])
        for name in (f'{side}_projs.0.0', f'encoder_{side}.0', None, f'encoder_{side}.3'):
            if name is None:
                rows = (rows - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt()
                rows = (rows * weights[f'encoder_{side}.1.weight']
                        + weights[f'encoder_{side}.1.bias']).relu()
            else:
                rows = rows @ weights[f'{name}.weight'].T + weights[f'{name}.bias']
        return rows / rows.norm(dim=1, keepdim=True)

    logits = vectors(teacher, 'pts') @ vectors(student, 'img').T / .07
    loss = .2 * (logits.logsumexp(1) - logits.diagonal()).mean()
    gradients = torch.autograd.grad(loss, [student, *leaves])
    arrays = {'student_feat': student, 'teacher_feat': teacher, 'sampling_points': points,
              'loss': loss, 'grad_student_feat': gradients[0]}
    arrays |= {f'w.{name}': value for name, value in weights.items()}
    arrays |= {f'grad_w.{side}_projs.0.0.weight': value
               for side, value in zip(('img', 'pts'), gradients[1:], strict=True)}
    return (dict(T=.07, mid_channels=width, loss_weight=.2, bn='train mode (batch statistics)'),
            {key: value.detach().numpy() for key, value in arrays.items()})


def _bilinear(x, place):
    """A map (C, Y, X) at (x, y) in [-1, 1], zeros beyond it, by its four neighbours."""
    size = torch.tensor([x.shape[2], x.shape[1]], dtype=x.dtype)
    u, v = ((place + 1) / 2 * size - .5).tolist()
    value = x.new_zeros(x.shape[0])
    for row in (math.floor(v), math.floor(v) + 1):
        for column in (math.floor(u), math.floor(u) + 1):
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                value = value + x[:, row, column] * (1 - abs(v - row)) * (1 - abs(u - column))
    return value


def cmkd(shift=0., mask=False, batch=2, anchors=2, classes=3, size=(3, 4), kind='L2', empty=1):
    """(args, arrays), by autograd of sums over anchors; ``shift`` is added to the teacher's
    scores, whose map is zero in the first ``empty`` rows."""
    generator = torch.Generator().manual_seed(1)
    widths = dict(cls=anchors * classes, box=anchors * 7, dir=anchors * 2)
    arrays = {f'{side}_bev': torch.randn(batch, 3, *size, generator=generator).double()
              for side in ('student', 'teacher')}
    arrays['teacher_bev'][:, :, :empty] = 0
    arrays |= {f'{side}_{name}': torch.randn(batch, *size, width, generator=generator).double()
               for side in ('student', 'teacher') for name, width in widths.items()}
    arrays['teacher_cls'] = arrays['teacher_cls'] + shift
    leaves = {key: value.requires_grad_() for key, value in arrays.items()
              if key.startswith('student')}
    weight = torch.ones_like(arrays['teacher_bev'])
    if mask:
        weight[:, :, :empty] = .05
    gap = (arrays['student_bev'] - arrays['teacher_bev']).abs() ** (2 if kind == 'L2' else 1)
    losses = dict(loss_bev=32 * (gap * weight).mean() * weight.numel() / weight.sum())
    s, t = (arrays[f'{side}_cls'].reshape(batch, -1, classes).sigmoid()
            for side in ('student', 'teacher'))
    entropy = -(t * s.log() + (1 - t) * (1 - s).log()) * (s - t) ** 2
    losses['loss_cls'] = 2 * sum(
        entropy[b, :, k].sum() / max(1, int((t[b, :, k] > .1).sum()))
        for b in range(batch) for k in range(classes))
    p, q = (arrays[f'{side}_box'].reshape(batch, -1, 7) for side in ('student', 'teacher'))
    gap = torch.cat([p[..., :6] - q[..., :6], (p[..., 6:] - q[..., 6:]).sin()], -1).abs()
    smooth = torch.where(gap < 1 / 9, gap ** 2 * 4.5, gap - 1 / 18).sum(2)
    d, e = (arrays[f'{side}_dir'].reshape(batch, -1, 2) for side in ('student', 'teacher'))
    bins = d.logsumexp(2) - d.gather(2, e.argmax(2, keepdim=True))[..., 0]
    share = torch.stack([torch.where(c > .1, c, 0.) / max(1, int((c > .1).sum()))
                         for c in t.sum(2)]) / batch
    losses |= dict(loss_loc=2 * (smooth * share).sum(), loss_dir=.4 * (bins * share).sum())
    losses['loss_box_plus_dir'] = losses['loss_loc'] + losses['loss_dir']
    total = losses['loss_bev'] + losses['loss_cls'] + losses['loss_box_plus_dir']
    gradients = torch.autograd.grad(total, list(leaves.values()))
    arrays |= losses | {f'grad_{key}': value for key, value in zip(leaves, gradients, strict=True)}
    args = dict(LOSS_BEV_WEIGHT=32, LOSS_BEV_TYPE=kind, use_nonzero_mask=mask, qfl_beta=2.,
                cls_pos_threshold=.1, reg_pos_threshold_on_class_sum=.1, smooth_l1_beta=1 / 9,
                weights=dict(cls=2., loc=2., dir=.4), num_class=classes, anchors_per_cell=anchors)
    return args, {key: value.detach().numpy() for key, value in arrays.items()}


def fd3d_heatmap(boxes=True, batch=2):
    """(args, arrays); without a box 1 / 0 times 0 as in the official code."""
    random = np.random.default_rng(2)
    student, teacher = random.standard_normal((2, batch, 3, 5, 4))
    fpn, other = random.standard_normal((2, 3, 2, 3, 4))
    mask = random.random((batch, 1, 5, 4)) * boxes
    p, s = (np.exp(x / 2) / np.exp(x / 2).sum((2, 3), keepdims=True) for x in (other, fpn))
    with np.errstate(invalid='ignore', divide='ignore'):
        scale = .1 * np.float64(1.) / mask.sum()
        loss = scale * ((student * mask - teacher * mask) ** 2).sum()
        gradient = scale * 2 * mask ** 2 * (student - teacher)
    return dict(bev_weight=.1, cwd_tau=2., cwd_weight=.25), {
        'student_bev': student, 'teacher_bev': teacher, 'heatmap': mask, 'student_fpn': fpn,
        'teacher_fpn': other, 'loss_bev': loss, 'grad_student_bev': gradient,
        'loss_cwd': np.float64(-.25 * 4 * (p * np.log(s)).sum() / 6),
        'grad_student_fpn': .25 * 2 * (s - p) / 6}


def fsdbev(batch=2, empty=0):
    """(args, arrays); the teacher's map is zero in the first ``empty`` rows."""
    random = np.random.default_rng(3)
    student, teacher = random.standard_normal((2, batch, 3, 5, 4))
    teacher[:, :, :empty] = 0
    length = np.sqrt((teacher ** 2).sum(1, keepdims=True)) + 1e-7
    return {}, {'student_bev': student, 'teacher_bev': teacher,
                'loss': np.float64((((student - teacher) / length) ** 2).sum() / (batch * 20)),
                'grad_student_bev': 2 * (student - teacher) / length ** 2 / (batch * 20)}
