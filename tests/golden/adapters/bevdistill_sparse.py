"""BEVDistill's boxes of queries, of each decoder stage. Without a box of the teacher the official
losses are 0 / 0, set to 0, and so are ours."""
import re

import torch

from mmkd.models.losses.bev import BEVDistillSparseLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays


class Arrays(BareArrays):
    """With the losses of each stage: ``d0.``, ``d1.``, ..., and no prefix for the last one."""

    def prefixed(self, name, arrays):
        known = dict(self.known)
        self.known |= {key: (f'out__{key}', 'float? *') for key in arrays if re.fullmatch(
            r'loss(_at_cls_weight_1)?\.(d\d+\.)?loss_(cls|bbox)_distill', key)}
        try:
            return super().prefixed(name, arrays)
        finally:
            self.known = known


ARRAYS = Arrays(
    given={'student_cls': 'float L B Q K', 'student_box': 'float L B Q R',
           'teacher_boxes': 'float T D', 'teacher_scores': 'float T K'},
    expected={'loss_total': 'float *', 'assigned_last_layer': 'int? Q'},
    gradients=('student_cls', 'student_box'), loss='loss_total')


def run(case):
    args = case.arguments(loss_bbox=0.25, loss_cls=0., cost_cls='BCE 1.0',
                          cost_box='L1 0.25 on first 8 codes', teacher_max_num=50,
                          score_reweight=True, code_weights=[1.] * 8 + [.2, .2])
    cls, boxes = case.input('student_cls'), case.input('student_box')
    teacher, scores = case.input('teacher_boxes'), case.input('teacher_scores').detach()
    if cls.shape[1] != 1 or len(teacher) > args['teacher_max_num']:
        raise CaseError(f'{case.name}: one sample and at most {args["teacher_max_num"]} boxes of '
                        f'the teacher are known, not {cls.shape[1]} and {len(teacher)}')
    costs = [cost(case, args[name], pattern) for name, pattern in (
        ('cost_cls', r'BCE ([\d.e-]+)'), ('cost_box', r'L1 ([\d.e-]+) on first 8 codes'))]
    targets = [(scores, codes(teacher.detach())[:, :boxes.shape[3]])]
    criterion = BEVDistillSparseLoss(1., 1., args['teacher_max_num'], *costs,
                                     args['score_reweight'], args['code_weights'],
                                     unmatched_label=float(cls.shape[3]))
    outputs, total = {}, cls.sum() * 0 + boxes.sum() * 0
    for i, stage in enumerate(zip(cls, boxes, strict=True)):
        parts, matched = criterion.stage(*stage, targets)
        prefix = '' if i == len(cls) - 1 else f'd{i}.'
        losses = dict(cls=args['loss_cls'] * parts['cls'], bbox=args['loss_bbox'] * parts['box'])
        total = total + losses['cls'] + losses['bbox']
        outputs |= {f'loss.{prefix}loss_{name}_distill': x for name, x in losses.items()}
        outputs[f'loss_at_cls_weight_1.{prefix}loss_cls_distill'] = parts['cls']
    if not len(teacher):  # a sum divided by 0, set to the largest number
        case.skip(r'loss_at_cls_weight_1')
    return Outcome({'loss_total': total}, outputs | {'assigned_last_layer': matched[0] + 1})


def cost(case, text, pattern):
    found = re.fullmatch(pattern, str(text))
    if not found:
        raise CaseError(f'{case.name}: the cost {text!r} is not as released, {pattern}')
    return float(found[1])


def codes(boxes):
    """Boxes x, y, z of the bottom, w, l, h, yaw, velocity as what the queries predict."""
    x, y, z, w, length, h, yaw = boxes[:, :7].unbind(1)
    return torch.cat([torch.stack([x, y, w.log(), length.log(), z + h / 2, h.log(), yaw.sin(),
                                   yaw.cos()], 1), boxes[:, 7:]], 1)
