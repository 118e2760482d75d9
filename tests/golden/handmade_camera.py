"""Reference cases of methods whose student sees by cameras, by plain formulas of torch in float64,
written apart from mmkd's own. Gradients are those of the formulas."""
import itertools
import math

import torch

from tests.golden.handmade_lidar import draws, finish


def bevdistill_sparse(teachers=3, queries=5, stages=2, classes=4, reweight=True, code_weights=None):
    """(args, arrays); of all ways to give queries to the teacher's boxes the cheapest is taken."""
    draw = draws(3)
    cls, boxes = draw(stages, 1, queries, classes), 2 * draw(stages, 1, queries, 10)
    scores, teacher = draw(teachers, classes).sigmoid(), draw(teachers, 9)
    teacher[:, 3:6] = teacher[:, 3:6].exp()
    cls.requires_grad_(), boxes.requires_grad_()
    weights = code_weights or [1.] * 8 + [.2, .2]
    targets = [[x, y, math.log(w), math.log(length), z + h / 2, math.log(h), math.sin(yaw),
                math.cos(yaw), vx, vy] for x, y, z, w, length, h, yaw, vx, vy in teacher.tolist()]
    arrays = dict(student_cls=cls, student_box=boxes, teacher_boxes=teacher, teacher_scores=scores)
    total = torch.zeros(()).double()
    for s in range(stages):
        p, code = cls[s, 0].sigmoid(), boxes[s, 0]
        cost = [[sum(-t * math.log(c) - (1 - t) * math.log(1 - c) for c, t in zip(
            p[q].tolist(), scores[k].tolist(), strict=True))
            + .25 * sum(abs(code[q, r].item() - targets[k][r]) for r in range(8))
            for q in range(queries)] for k in range(teachers)]
        small = min(teachers, queries)
        ways = ([*zip(ks, qs, strict=True)]
                for ks in itertools.combinations(range(teachers), small)
                for qs in itertools.permutations(range(queries), small))
        best = min(ways, key=lambda way, of=cost: sum(of[k][q] for k, q in way))
        label, box, found = torch.full((queries, classes), float(classes)).double(), 0., 0.
        for k, q in best:
            label[q] = scores[k]
            quality = scores[k].max() if reweight else 1.
            found = found + quality
            for r in range(10):
                box = box + quality ** 2 * weights[r] * (code[q, r] - targets[k][r]).abs()
        entropy = (-label * p.log() - (1 - label) * (1 - p).log()).sum()
        name = '' if s == stages - 1 else f'd{s}.'
        box = .25 * box / found if best else total * 0
        total = total + box
        arrays |= {f'loss.{name}loss_bbox_distill': box,
                   f'loss.{name}loss_cls_distill': torch.zeros(1).double(),
                   # a number that is no number's share
                   f'loss_at_cls_weight_1.{name}loss_cls_distill':
                   entropy[None] / len(best) if best else torch.full((1,), 3e38).double()}
    assigned = [next((k + 1 for k, q in best if q == i), 0) for i in range(queries)]
    arrays |= dict(loss_total=total[None], assigned_last_layer=torch.tensor(assigned))
    args = dict(loss_bbox=.25, loss_cls=0., cost_cls='BCE 1.0', teacher_max_num=50,
                cost_box='L1 0.25 on first 8 codes', score_reweight=reweight, code_weights=weights)
    if not best:
        total = total + 0 * boxes.sum() + 0 * cls.sum()
    return args, finish(arrays, total, dict(grad_student_box=boxes, grad_student_cls=cls))


def simdistill_response(batch=2, classes=2, size=(3, 4), weight=.25):
    """(args, arrays); one number after the other of each class' map."""
    draw = draws(4)
    student, teacher = draw(batch, classes, *size).sigmoid(), draw(batch, classes, *size).sigmoid()
    student.requires_grad_()
    total = torch.zeros(()).double()
    for b, k in itertools.product(range(batch), range(classes)):
        s, t = student[b, k].flatten().sigmoid(), teacher[b, k].flatten().sigmoid()
        for i in range(len(s)):
            many = max(1, sum(x > .1 for x in t[i % classes::classes].tolist()))
            entropy = -t[i] * s[i].log() - (1 - t[i]) * (1 - s[i]).log()
            total = total + weight * entropy * (s[i] - t[i]) ** 2 / many
    args = dict(weight=weight, beta=2., num_class=classes)
    return args, finish(dict(student_prob=student, teacher_prob=teacher, loss_cls=total), total,
                        dict(grad_student_prob=student))


def monodistill(boxes=((3., 2., 21., 17.), (0., 9., 13., 24.)), counts=(2, 1), strides=(8, 16),
                size=(3, 4), nan=False):
    """(args, arrays); every sample has the first ``counts[b]`` of the boxes; maps of ``size`` are
    halved from level to level. ``nan``: one number of the teacher's first map is none."""
    draw, batch = draws(5), len(counts)
    sizes = [tuple(max(1, -(-length * strides[0] // stride)) for length in size)
             for stride in strides]
    student = [draw(batch, 2 + i, *s).requires_grad_() for i, s in enumerate(sizes)]
    teacher = [draw(batch, 2 + i, *s) for i, s in enumerate(sizes)]
    teacher[0][:, :, 0, 0] = 0  # an empty cell
    teacher[0][0, 0, 1, 1] *= math.nan if nan else 1
    imitation, affinity = torch.zeros(()).double(), torch.zeros(()).double()
    for s, t, stride in zip(student, teacher, strides, strict=True):
        cells = set()
        for b, count in enumerate(counts):
            for x0, y0, x1, y1 in boxes[:count]:
                cells |= {(b, i, j) for i in range(int(y0 / stride), int(y1 / stride))
                          for j in range(int(x0 / stride), int(x1 / stride))
                          if i < s.shape[2] and j < s.shape[3] and any(t[b, :, i, j] != 0)}
        for b, i, j in cells:
            gap = (s[b, :, i, j] - t[b, :, i, j]).nan_to_num(0.) ** 2 / 2
            imitation = imitation + gap.sum() / s.shape[1] / len(cells) / batch
        s, t = (torch.nn.functional.interpolate(x, sizes[-1], mode='bilinear') for x in (s, t))
        places = list(itertools.product(*map(range, sizes[-1])))
        for b in range(batch):
            for (i, j), (k, m) in itertools.product(places, places):
                gap = sum(s[b, c, i, j] * s[b, c, k, m] - t[b, c, i, j] * t[b, c, k, m]
                          for c in range(s.shape[1]))
                affinity = affinity + gap.abs() / len(places) ** 2 / batch ** 2
    total = 10 * imitation + affinity
    rows = torch.tensor(boxes).double().reshape(1, -1, 4).repeat(batch, 1, 1)
    arrays = dict(box2d=rows, obj_num=torch.tensor(counts), loss_total=total,
                  loss_imitation=imitation, loss_affinity=affinity)
    arrays |= {f'teacher.{i}': x for i, x in enumerate(teacher)}
    arrays |= {f'student.{i}': x for i, x in enumerate(student)}
    args = dict(weights=dict(imitation=10, affinity=1), strides=list(strides))
    return args, finish(arrays, total, {f'grad_student.{i}': x for i, x in enumerate(student)})
