"""Reference cases of methods that look at regions, by plain loops of numpy.

Boxes are drawn with Python's slices, as in the official code. Convolutions pass their input on.
"""
import math

import numpy as np


def iou(one, other, extra=0.):
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) + extra
                     for i in range(2))
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + extra) * (box[3] - box[1] + extra) for box in (one, other)]
    return common / max(sum(areas) - common, 1e-6)


def square_anchors(size, stride, scales=(1., 2.), shapes=(1.,)):
    """(H*W*A, 4), centred on the corners of cells."""
    anchors = []
    for y, x in np.ndindex(size):
        for scale in scales:
            for ratio in shapes:  # height / width
                w, h = (stride * scale * factor / 2 for factor in (ratio ** -.5, ratio ** .5))
                anchors.append([x * stride - w, y * stride - h, x * stride + w, y * stride + h])
    return np.array(anchors).reshape(-1, 4)


def near_objects(anchors, boxes, size, phi=.5, extra=0.):
    """(H, W): 1 where an anchor overlaps a box more than phi times the best overlap."""
    mask = np.zeros(size)
    per_place = len(anchors) // max(size[0] * size[1], 1)
    for box in boxes:
        found = [iou(anchor, box, extra) for anchor in anchors]
        for i, value in enumerate(found):
            if value > phi * max(found):
                mask[divmod(i // per_place, size[1])] = 1
    return mask


def level_of(box, levels):
    side = math.sqrt((box[2] - box[0] + 1) * (box[3] - box[1] + 1))
    return min(max(math.floor(math.log2(side / 56 + 1e-6)), 0), levels - 1)


def object_cells(boxes, stride, size):
    """(H, W): 1 in the cells of boxes, half open and with slices that may be negative."""
    mask = np.zeros(size)
    for box in boxes:
        x0, y0 = (max(int(value / stride), 0) for value in box[:2])
        x1, y1 = (min(int(value / stride), limit) for value, limit in
                  zip(box[2:], size[::-1], strict=True))
        if x0 == x1 or y0 == y1:
            mask[y0, x0] = 1
        else:
            mask[y0:y1, x0:x1] = 1
    return mask


def passing_convolution(channels):
    weight = np.zeros((channels, channels, 3, 3))
    weight[range(channels), range(channels), 1, 1] = 1
    return weight, np.zeros(channels)


def fgfi_arrays(boxes, size=(5, 6), channels=3, rows=4, weight=0.01):
    """The original: one image, one map of stride 16, whole-pixel boxes; no object gives NaN."""
    random = np.random.default_rng(0)
    student, teacher = (random.random((1, channels, *size)) + .1 for _ in range(2))
    anchors = square_anchors(size, 16, (2., 4.))
    mask = near_objects(anchors, boxes, size, extra=1.)
    padded = np.zeros((1, rows, 5))
    for i, box in enumerate(boxes):
        padded[0, i] = *box, 1
    w, bias = passing_convolution(channels)
    total = mask.sum()
    scale = weight / total if total else np.nan
    return {'in.student': student, 'in.teacher': teacher, 'in.anchors': anchors,
            'in.gt_boxes': padded, 'w.adap.weight': w, 'w.adap.bias': bias,
            'mid.mask': mask[None, None],
            'out.loss': scale / 2 * (mask * (student - teacher) ** 2).sum(),
            'grad.student': scale * mask * (student - teacher)}


def defeat_arrays(boxes, fg_weight=3., bg_weight=12., image=(64, 64), levels=3, channels=2,
                  objects=object_cells, rois=None):
    """A pyramid from stride 4 on, objects and background; with ``rois``, (R,) labels, their class
    scores of five classes, too."""
    random = np.random.default_rng(1)
    arrays, totals = {'in.img_shape': np.array(image)}, np.zeros(2)
    for image_index, of_image in enumerate(boxes):
        arrays[f'in.gt_bboxes_{image_index}'] = np.reshape(of_image, (-1, 4)).astype(float)
    for i in range(levels):
        stride = 4 * 2 ** i
        size = tuple(math.ceil(side / stride) for side in image)
        student, teacher = random.standard_normal((2, len(boxes), channels, *size))
        mask = np.stack([objects([box for box in of_image if level_of(box, levels) == i],
                                 stride, size) for of_image in boxes])
        gradient = 0
        for part, (weight, cells) in enumerate(((fg_weight, mask), (bg_weight, 1 - mask))):
            scale = weight / levels / max(1., 2 * channels * cells.sum())
            totals[part] += scale * (cells[:, None] * (student - teacher) ** 2).sum()
            gradient = gradient + 2 * scale * cells[:, None] * (student - teacher)
        arrays |= {f'in.student_{i}': student, f'in.teacher_{i}': teacher, f'mid.mask_{i}': mask,
                   f'grad.student_{i}': gradient}
        w, bias = passing_convolution(channels)
        arrays |= {f'w.neck_adapt.{i}.0.weight': w, f'w.neck_adapt.{i}.0.bias': bias}
    arrays |= {'out.losskd_neck': totals[:1], 'out.losskd_neck_back': totals[1:],
               'out.total': totals.sum()}
    if rois is not None:
        arrays |= roi_arrays(np.array(rois), totals.sum())
    return arrays


def roi_arrays(labels, total, tau=2., weight=2.):
    """The official code takes the largest label for background."""
    random = np.random.default_rng(2)
    student, teacher = 3 * random.standard_normal((2, len(labels), 5))
    q, p = (np.exp(x / tau) / np.exp(x / tau).sum(1, keepdims=True) for x in (student, teacher))
    rows = (p * np.log(p / q)).sum(1)
    arrays = {'in.student_roi_cls': student, 'in.teacher_roi_cls': teacher,
              'in.roi_labels': labels}
    gradient = np.zeros_like(student)
    for name, chosen in (('losskd_hcls', labels < labels.max()),
                         ('losskd_hcls_back', labels == labels.max())):
        count = max(chosen.sum(), 1)
        arrays[f'out.{name}'] = weight * tau ** 2 * rows[chosen].sum() / count
        gradient[chosen] = weight * tau * (q - p)[chosen] / count
        total = total + arrays[f'out.{name}']
    return arrays | {'grad.student_roi_cls': gradient, 'out.total': total}


def pgd_weight_arrays(boxes, labels, size=(8, 8), stride=8., classes=3, topk=9, alpha=.8,
                      low_bound=0., transposed=False, seed=3):
    """The weights of places on one level, place by place."""
    random = np.random.default_rng(seed)
    anchors = square_anchors(size, stride, (4.,)) + stride / 2
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    logits = random.standard_normal((len(centres), classes))
    predicted = anchors + random.uniform(-6, 6, anchors.shape)
    predicted = np.concatenate([np.minimum(predicted[:, :2], predicted[:, 2:]),
                                np.maximum(predicted[:, :2], predicted[:, 2:])], 1)
    draw = random.random((len(boxes), topk, 2))
    fg, bg = np.zeros(len(centres)), np.ones(len(centres))
    for box, label, jitter in zip(boxes, labels, draw, strict=True):
        quality = [(1 / (1 + math.exp(-score))) ** (1 - alpha) * iou(guess, box) ** alpha
                   for score, guess in zip(logits[:, label], predicted, strict=True)]
        best = sorted(range(len(quality)), key=lambda i: -quality[i])[:topk]
        moved = centres[best] + (jitter - .5) * .1
        inverse = np.linalg.inv(np.cov(moved.T, bias=True)) if topk > 1 else np.zeros((2, 2))
        within = [all(box[i] < (place[::-1] if transposed else place)[i] < box[i + 2]
                      for i in range(2)) for place in centres]
        for i in best:
            away = centres[i] - moved.mean(0)
            weight = math.exp(-.5 * away @ inverse @ away) * within[i]
            fg[i] = max(fg[i], weight if weight >= low_bound else 0.)
        bg[np.array(within)] = 0
    arrays = {'in.anchors': anchors, 'in.points': centres, 'in.teacher_boxes': predicted,
              'in.teacher_cls': logits, 'in.gt_bboxes': np.reshape(boxes, (-1, 4)).astype(float),
              'in.gt_labels': np.array(labels, dtype=np.int64), 'out.fg_weight': fg,
              'out.bg_mask': bg}
    return arrays | ({'in.rand_0': draw} if len(boxes) and topk > 1 else {})


def softmax(x, axis):
    x = np.exp(x - x.max(axis, keepdims=True))
    return x / x.sum(axis, keepdims=True)


def pgd_loss_arrays(fg, bg, channels=3, temp=.8, loss_weight=1.25, alpha=.08, beta=.04,
                    gamma=.128, delta=8e-4):
    """Both losses of one level; ``fg`` and ``bg``: (N, H, W)."""
    random = np.random.default_rng(4)
    n, h, w = fg.shape
    student, teacher = random.standard_normal((2, n, channels, h, w))
    places, seen = ([h * w * softmax(np.abs(x).mean(1).reshape(n, -1) / temp, 1).reshape(n, h, w)
                     for x in (student, teacher)],
                    [channels * softmax(np.abs(x) / temp, 1) for x in (student, teacher)])
    error = ((student - teacher) ** 2 * seen[1]).sum(1)
    sums, alone = [], []
    for mask in (fg, bg):
        share = np.stack([m / max((m != 0).sum(), 1) for m in mask])
        pairs = [[(share[j] * places[1][i] * error[i]).sum() for j in range(n)] for i in range(n)]
        sums.append(np.sum(pairs) / n)  # every image with the masks of every image
        alone.append(np.trace(pairs) / n)
    unlike = (np.abs(seen[0] - seen[1]).sum() / (n * h * w)
              + np.abs(places[0] - places[1]).sum() / n)
    loss = loss_weight * (alpha * sums[0] + beta * sums[1]) + delta * unlike
    chosen = [place for place in np.ndindex(fg.shape) if fg[place] != 0]
    reg = 0.
    for i, y, x in chosen:
        reg += gamma * (fg[i, y, x] * error[i, y, x] / channels) / len(chosen)
        reg += delta * np.abs(seen[0] - seen[1])[i, :, y, x].sum() / len(chosen)
    return {'in.student': student, 'in.teacher': teacher, 'in.mask_fg': fg[:, None],
            'in.mask_bg': bg[:, None], 'out.cls.fg': sums[0], 'out.cls.bg': sums[1],
            'out.cls.mask': unlike, 'out.cls.loss': loss, 'out.reg.loss': reg,
            'ref.cls.fg_per_image': alone[0], 'ref.cls.bg_per_image': alone[1]}
