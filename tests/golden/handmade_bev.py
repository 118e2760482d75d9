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
        column, row = math.floor((x - low) / cell), math.floor((y - low) / cell)
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
