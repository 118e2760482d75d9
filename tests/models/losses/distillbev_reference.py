"""DistillBEV's formula by plain loops, for the tests of the loss and of its reference cases."""
import math

import torch


def inside(point, box):
    """Whether (x, y) lies in the footprint of a box x, y, z, dx, dy, dz, yaw."""
    x, y = point[0] - box[0], point[1] - box[1]
    along = x * math.cos(box[6]) + y * math.sin(box[6])
    across = y * math.cos(box[6]) - x * math.sin(box[6])
    return abs(along) < box[3] / 2 and abs(across) < box[4] / 2


def regions(boxes, metres, size, length=0., weight=0.):
    """foreground, fg_scale and bg_scale of one sample, lists of rows."""
    rows, columns = size
    width, height = (metres[2] - metres[0]) / columns, (metres[3] - metres[1]) / rows
    foreground, scale = ([[0.] * columns for _ in range(rows)] for _ in range(2))
    for i in range(rows):
        for j in range(columns):
            corner = (metres[0] + j * width, metres[1] + i * height)
            for box in reversed(boxes):  # the first one last
                if inside(corner, box):
                    foreground[i][j] = 1.
                    scale[i][j] = math.sqrt(width * height / (box[3] * box[4]))
            for box in reversed(boxes) if length and weight else ():
                grown = [*box[:3], box[3] + length * width, box[4] + length * width, *box[5:]]
                if inside(corner, grown):
                    foreground[i][j] = max(foreground[i][j], weight)
                    scale[i][j] = width * height / (box[3] * box[4])
    left = sum(value == 0 for row in foreground for value in row)
    return foreground, scale, 1 / left if left else 0.


def component(cells, start):
    """The cells of the set that are connected with ``start`` by their sides."""
    found, todo = {start}, [start]
    while todo:
        i, j = todo.pop()
        for cell in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if cell in cells and cell not in found:
                found.add(cell)
                todo.append(cell)
    return found


def wrong_cells(mode, foreground, gt, teacher, student, threshold, below):
    """The cells (i, j) of false positives; the largest Gaussian and probability of each cell."""
    found = set()
    for i, row in enumerate(foreground):
        for j, covered in enumerate(row):
            by_teacher, by_student = teacher[i][j] > threshold, student[i][j] > threshold
            selected = by_student and teacher[i][j] < below
            seen = dict(teacher=by_teacher, student=by_student, teacher_selected_student=selected)
            seen['teacher+teacher_selected_student'] = by_teacher or selected
            if not covered and gt[i][j] < below and seen[mode]:
                found.add((i, j))
    return found


def distillbev(student, teacher, boxes, metres, conv=None, weights=(1.5e-3, 4e-2, .25, 2.5e-3),
               spatial_t=.5, channel_t=.5, channel_mask=True, context=(0., 0.), fp=None,
               scale_mask='combine_gt', student_ratio=0.):
    """The losses by name, of maps (B, C, Y, X) in float64; ``conv`` is (weight, bias).

    ``fp``: dict(mode, weight, scale, threshold, below, gt, teacher, student), the last three
    (B, Y, X).
    """
    batch, channels, rows, columns = teacher.shape
    total = dict.fromkeys(('fg', 'bg', *(('channel',) if channel_mask else ()),
                           *(('spatial',) if conv else ()), *(('fp',) if fp else ())), 0.)
    for b in range(batch):
        s, t = student[b], teacher[b]
        places = []
        for x in (t, s.detach()):
            strength = [[x[:, i, j].abs().mean() / spatial_t for j in range(columns)]
                        for i in range(rows)]
            place = torch.stack([torch.stack(row) for row in strength]).exp()
            places.append(rows * columns * place / place.sum())
        place = (places[0] + student_ratio * places[1]) / (1 + student_ratio)
        channel = torch.stack([t[c].abs().mean() / channel_t for c in range(channels)]).exp()
        channel = channels * channel / channel.sum()
        foreground, fg_scale, bg_scale = regions(boxes[b], metres, (rows, columns), *context)
        wrong = set()
        if fp:
            wrong = wrong_cells(fp['mode'], foreground, *(
                fp[key][b].tolist() for key in ('gt', 'teacher', 'student')), fp['threshold'],
                fp['below'])
            left = rows * columns - sum(map(sum, foreground)) - len(wrong)
            bg_scale = 1 / left if left > 0 else 0.
        for i in range(rows):
            for j in range(columns):
                error = (s[:, i, j] - t[:, i, j]) ** 2
                both = (error * channel).sum() * place[i, j]
                value = both if channel_mask else error.sum()
                value = value if channel_mask or not conv else value * place[i, j]
                inner = dict(combine_gt=max(fg_scale[i][j], bg_scale), separate_gt=fg_scale[i][j],
                             bg_only=bg_scale).get(scale_mask, 1.)
                outer = inner if scale_mask == 'combine_gt' else bg_scale if scale_mask else 1.
                total['fg'] = total['fg'] + weights[0] * foreground[i][j] * inner * value / batch
                if foreground[i][j] == 0 and (i, j) not in wrong:
                    total['bg'] = total['bg'] + weights[1] * outer * value / batch
                if (i, j) in wrong:
                    size = len(wrong if fp['scale'] == 'average' else component(wrong, (i, j)))
                    total['fp'] = total['fp'] + fp['weight'] * both / size / batch
        if channel_mask:
            total['channel'] = total['channel'] + weights[2] * sum(
                (s[c].mean() - t[c].mean()).abs() for c in range(channels)) / batch
        if conv:
            mean = torch.nn.functional.conv2d(s.mean(0)[None, None], *conv, padding=1)[0, 0]
            total['spatial'] = total['spatial'] + weights[3] * (
                mean - t.mean(0)).abs().sum() / batch
    return total
