"""Reference cases of TiG-BEV by loops over boxes, keypoints and pixels in float64, written apart
from mmkd's own. Gradients are those of the formulas."""
import math

import torch

from tests.golden.handmade_bev import BOXES, _bilinear
from tests.golden.handmade_lidar import draws, finish


def keypoints(box, enlarge, count, low, cell, size):
    """(count, count, 2) places from -1 to 1 of a box x, y, z, w, l, h, clockwise yaw: rows go along
    its width, columns along its length."""
    x, y, _, width, length, _, yaw = box
    extra, n = 2 * max(enlarge, 0.), count - 1
    places = torch.zeros(count, count, 2).double()
    for i in range(count):
        for j in range(count):
            across, along = (i / n - .5) * (width + extra), (j / n - .5) * (length + extra)
            metres = (x + across * math.cos(yaw) + along * math.sin(yaw),
                      y - across * math.sin(yaw) + along * math.cos(yaw))
            for k in (0, 1):
                place = 2 * (metres[k] - low) / (cell * (size - 1)) - 1
                places[i, j, k] = min(max(place, -1.), 1.)
    return places


def unlike(one, other):
    """Of rows (R, D): how far the directions of the rows of their products are apart."""
    total = 0.
    for r in range(len(one)):
        rows = []
        for x in (one, other):
            products = torch.stack([x[r] @ x[k] for k in range(len(x))])
            rows.append(products / products.norm().clamp(min=1e-12))
        total = total + ((rows[0] - rows[1]) ** 2).sum() / len(one)
    return total


def inner_depth(logits, objects, measured, bins):
    """Squares of (expected depth - that of the best pixel of the object) against the measured."""
    total, count = 0., 0
    values = bins[0] + bins[2] * torch.arange(logits.shape[1]).double()
    for image, numbers, depths in zip(logits, objects, measured, strict=True):
        expected = (image.softmax(0) * values[:, None, None]).sum(0)
        for number in set(numbers.flatten().tolist()) - {0}:
            pixels = [(int(i), int(j)) for i, j in (numbers == number).nonzero()]
            best = min(pixels, key=lambda p: abs(float(expected[p].detach() - depths[p])))
            total = total + sum(((expected[p] - expected[best].detach()) - (
                depths[p] - depths[best])) ** 2 for p in pixels)
            count += len(pixels)
    return total / max(count, 1)


def tigbev(boxes=BOXES, sample=(0, 1, 1), batch=2, enlarge=1.6, count=3, size=8, objects=3,
           depth=True):
    """(args, arrays) of maps of 16 m; ``objects`` are seen in each image."""
    draw, cell, bins = draws(3), 16 / size, (1, 7, 1)
    student, teacher = draw(batch, 3, size, size), draw(batch, 4, size, size)
    weight, bias = draw(4, 3, 1, 1).requires_grad_(), draw(4)
    logits = draw(2 * batch, 6, 3, 4)
    grids = [keypoints(box, enlarge, count, -8., cell, size) for box in boxes]
    student.requires_grad_()
    found, losses = dict(student=[], teacher=[]), [0., 0.]
    for b, grid in zip(sample, grids, strict=True):
        read = [torch.stack([_bilinear(x[b], place) for place in grid.flatten(0, 1)])
                for x in (student, teacher)]
        embedded = read[0] @ weight[:, :, 0, 0].T + bias
        losses = [losses[0] + unlike(*read) / len(boxes),
                  losses[1] + unlike(embedded.T, read[1].T) / len(boxes)]
        for side, rows in zip(found, read, strict=True):
            found[side].append(rows.T.unflatten(1, (count, count)))
    arrays = dict(
        student_feat=student, teacher_feat=teacher, box_sample=torch.tensor(sample),
        boxes_old=torch.tensor(boxes, dtype=torch.float64), embed_weight=weight, embed_bias=bias,
        sample_grid=torch.stack(grids), loss_inter_keypoint=100 * losses[0],
        loss_inter_channel=10 * losses[1],
        **{f'sampled_{side}': torch.stack(rows) for side, rows in found.items()})
    leaves = dict(grad_student_feat=student, grad_embed_weight=weight)
    total = arrays['loss_inter_keypoint'] + arrays['loss_inter_channel']
    if depth:
        logits.requires_grad_()
        numbers = (torch.arange(24 * batch) * 5 % 7).view(2 * batch, 3, 4)
        numbers = torch.where(numbers <= objects, numbers, 0)
        measured = (numbers + draw(2 * batch, 3, 4)).abs() * (numbers > 0)
        loss = 2. * inner_depth(logits, numbers, measured, bins) + 0 * logits.sum()
        arrays |= dict(depth_logits=logits, loss_inner_depth=loss, **{
            name: x.view(batch, 2, 3, 4).double()
            for name, x in (('fg_index', numbers), ('depth_gt', measured))})
        leaves, total = leaves | dict(grad_depth_logits=logits), total + loss
    args = dict(x_sample_num=count, y_sample_num=count, released_sample_num=24,
                enlarge_width=enlarge, inter_keypoint_weight=100., inter_channel_weight=10.,
                inner_depth_weight=2., cell=cell, range=8., dbound=list(bins))
    return args, finish(arrays, total, leaves)
