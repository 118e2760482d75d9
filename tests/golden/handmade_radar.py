"""Reference cases of methods whose student has a radar, by plain formulas of torch in float64,
written apart from mmkd's own. Gradients are those of the formulas."""
import itertools

import torch
import torch.nn.functional as F

from tests.golden.handmade_lidar import draws, finish

PARTS = dict(reg=2, height=1, dim=3, rot=2, vel=2)


def clipped(x):
    return x.sigmoid().clamp(1e-4, 1 - 1e-4)


def crkd(boxes=(((4, 1, 1, 3),), ((2, 5, 5, 2), (0, 0, 2, 2))), size=(5, 6), sizes=(3, 2),
         shift=0., task_weights=(2., 1.), adapt=True):
    """(args, arrays); boxes of each sample are corners x0, y0, x1, y1 in cells of maps (x, y).
    ``shift`` is added to the teacher's logits."""
    draw, batch, channels = draws(6), len(boxes), 3
    student, teacher = draw(batch, channels, *size), draw(batch, channels, *size)
    teacher[:, :, 1, 2] = 0  # an empty cell, in a box
    arrays = dict(student_feat=student.requires_grad_(), teacher_feat=teacher)
    leaves, affinity = {'grad_student_feat': student}, torch.zeros(()).double()
    for i, n in enumerate(sizes):
        s, t = (F.interpolate(x, (n, n), mode='bilinear') for x in (student, teacher))
        if adapt:
            name = f'w.adapt_modules.{i}.conv_channel_layer'
            w = [draw(channels, channels, 3, 3) / 3, draw(channels),
                 draw(channels, channels, 1, 1), draw(channels)]
            arrays |= {f'{name}.{k}': x for k, x in zip(
                ('0.weight', '0.bias', '2.weight', '2.bias'), w, strict=True)}
            s = F.conv2d(F.conv2d(s, w[0], w[1], padding=1).clamp(min=0), w[2], w[3])
        places = list(itertools.product(range(n), range(n)))
        for b in range(batch):
            for (y, x), (v, u) in itertools.product(places, places):
                gap = s[b, :, y, x] @ s[b, :, v, u] - t[b, :, y, x] @ t[b, :, v, u]
                affinity = affinity + gap.abs() / len(places) ** 2 / batch ** 2
    cells = {(b, x, y) for b, some in enumerate(boxes) for x0, y0, x1, y1 in some
             for x in range(*sorted(min(max(int(v), 0), 179) for v in (x0, x1)))
             for y in range(*sorted(min(max(int(v), 0), 179) for v in (y0, y1)))
             if x < size[0] and y < size[1] and any(teacher[b, :, x, y] != 0)}
    mask = torch.zeros(()).double()
    for b, x, y in cells:
        gap = student[b, :, x, y] - teacher[b, :, x, y]
        mask = mask + (gap ** 2 / 2).mean() / len(cells) / batch
    total = .25 * affinity + 10 * mask
    for i, weight in enumerate(task_weights):
        logits, prob = draw(batch, i + 1, *size) + shift, draw(batch, i + 1, *size).sigmoid()
        arrays |= {f'teacher_hm_logits.task{i}': logits,
                   f'student_prob.task{i}': prob.requires_grad_()}
        leaves[f'grad_student_prob.task{i}'] = prob
        s, t = clipped(prob), clipped(logits)
        heat = (-(t * s.log() + (1 - t) * (1 - s).log()) * (s - t) ** 2).sum()
        heat = weight * heat / max(1, int((t > .3).sum()))
        certain, threshold = t.sum(1), .1
        while not (certain > threshold).any():
            threshold -= .01
        values = []
        for name, count in PARTS.items():
            ours, theirs = draw(batch, count, *size), draw(batch, count, *size)
            arrays |= {f'student_{name}.task{i}': ours.requires_grad_(),
                       f'teacher_{name}.task{i}': theirs}
            leaves[f'grad_student_{name}.task{i}'] = ours
            gap = (ours - theirs).abs()
            smooth = torch.where(gap < 1, gap ** 2 / 2, gap - .5) * certain[:, None] * 10
            values += [smooth[b, c, x, y] for b, x, y in (certain > threshold).nonzero().tolist()
                       for c in range(count)]
        box = 4 * weight * torch.stack(values).mean()
        arrays |= {f'loss_response.heatmap_task{i}_kd': heat, f'loss_response.bbox_task{i}_kd': box}
        total = total + heat + box
    arrays |= {f'box_cells.{b}': torch.tensor(some).double().reshape(-1, 4)
               for b, some in enumerate(boxes)}
    arrays |= dict(loss_affinity_raw=affinity, loss_mask_raw=mask, loss_total=total)
    args = dict(affinity_scale=.25, downsample_sizes=list(sizes), mask_scale=10.,
                released_downsample=[32, 16, 8, 4], task_weights=list(task_weights), qfl_beta=2.,
                released_task_weights=[2, 2, 2, 1, 2, 1], box_threshold=.1)
    return args, finish(arrays, total, leaves)


def radardistill(batch=2, boxes=True, active=True, size=(3, 4), tasks=(1, 2)):
    """(args, arrays), by loops over cells; not ``active``: the radar's low maps are below 0."""
    draw = draws(7)
    low, (lidar, wide) = draw(batch, 3, *size), draw(2, batch, 4, *size)
    low[:, :, 0] = 0
    student = {f'radar_{name}': draw(batch, channels, *size) for name, channels in (
        ('low_8x_1', 3), ('low_8x_2', 3), ('high', 4), ('high_8x', 4))}
    if not active:
        student = {key: -x.abs() if 'low' in key else x for key, x in student.items()}
    drawn = [draw(batch, k, *size).sigmoid() * boxes for k in tasks]
    logits = [2 * draw(batch, k, *size) - 2 for k in tasks]
    drawn[0][:, 0, :2] *= .1  # some cells below the threshold
    drawn = [x * (x > .3) if i else x for i, x in enumerate(drawn)]
    for x in student.values():
        x.requires_grad_()
    cells = list(itertools.product(range(batch), *map(range, size)))
    features, masks = {}, {}
    for name in ('low_8x_1', 'low_8x_2'):
        s, both, only = student[f'radar_{name}'], [], []
        mask = torch.zeros(()).double()
        for b, y, x in cells:
            seen, radar = low[b, :, y, x].sum() > 0, s[b, :, y, x].sum()
            mask = mask + (radar.sigmoid() - float(seen)).abs() / len(cells)
            if radar > 0:
                gap = ((s[b, :, y, x] - low[b, :, y, x]) ** 2).sum()
                (both if seen else only).append(gap)
        alone = len(both) / len(only) * sum(only) if only else float('nan')
        features[name] = (3e-4 * sum(both) + 5e-5 * alone) / batch + 0 * s.sum()
        masks[name] = mask
    afd = 5 * .5 * sum((*features.values(), *masks.values()))
    regions = dict(positive=[], false=[])
    for b, y, x in cells:
        gt, p = (max(float(v) for one in maps for v in one[b, :, y, x])
                 for maps in (drawn, [clipped(x) for x in logits]))
        if gt > .1:
            regions['positive'].append((b, y, x))
        elif gt < .1 and p > .1:
            regions['false'].append((b, y, x))
    high = torch.zeros(()).double()
    for name, t in (('high', lidar), ('high_8x', wide)):
        gap = (student[f'radar_{name}'].softmax(1) - t.softmax(1)).abs().sum(1)
        for kind, share in (('positive', 5), ('false', 1)):
            for place in regions[kind]:
                high = high + 25 * .5 * gap[place] * share / len(regions[kind])
    total = afd + high
    arrays = student | dict(lidar_low=low, lidar_high=lidar, lidar_high_8x=wide, loss_total=total)
    arrays |= {f'gt_heatmap.task{i}': x for i, x in enumerate(drawn)}
    arrays |= {f'radar_hm_logits.task{i}': x for i, x in enumerate(logits)}
    arrays |= {f'loss_tb.{name}': x for name, x in dict(
        low_feature_loss=afd, high_distill_loss=high, distll_loss=total,
        low_distill_de_8x_loss=features['low_8x_1'], low_distill_loss=features['low_8x_2'],
        mask_loss=masks['low_8x_2'], mask_de_8x_loss=masks['low_8x_1']).items()}
    args = dict(afd_active=3e-4, afd_radar_only=5e-5, pfd_thr=.1, pfd_pos=5, pfd_fp=1, high_x=25,
                low_x=5)
    return args, finish(arrays, total, {f'grad_{key}': x for key, x in student.items()})
