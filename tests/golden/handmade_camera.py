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
