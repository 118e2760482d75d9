"""LD's own code: main LD, LD in the valuable region, and KD of the classes at positives."""
import torch

from mmkd.models.losses.box import LDLoss
from tests.golden.adapters._gfl import (
    DEFAULTS,
    KL,
    assignment_outputs,
    gfl_head,
    inputs,
    skip_other_parts,
)
from tests.golden.case import Outcome
from tests.golden.detection import per_level, switched_off, weight_and

NAMES = dict(ld='loss_ld', ld_vlr='loss_ld_vlr', kd='loss_kd')


def run(case):
    args = case.arguments(**DEFAULTS | {'loss_kd': dict(type=KL, loss_weight=0)})
    switched_off(case, 'loss_im')
    skip_other_parts(case)
    student, teacher, head, boxes = inputs(case, gfl_head(args))
    (main, tau), (vlr, vlr_tau), (cls, cls_tau) = (
        weight_and(case, name, args[name], KL, T=10) for name in NAMES.values())
    criterion = LDLoss(main, tau, vlr, vlr_tau, cls, cls_tau, args['topk'])
    parts = criterion.levels(student, teacher, head, boxes)
    total = sum(criterion(student, teacher, head, boxes).values())
    zeros = [torch.zeros(())] * len(student['cls'])
    outputs = assignment_outputs(head, student) | {'kd_total': total}
    for part, name in [*NAMES.items(), (None, 'loss_kd_neg'), (None, 'loss_im')]:
        outputs |= per_level(name, parts.get(part, zeros))
    valid = [weight > 0 for weight in
             head.assign([x.shape[-2:] for x in student['cls']]).label_weights]
    anchors = head.anchors([x.shape[-2:] for x in student['cls']])
    outputs |= per_level('vlr', criterion.valuable_region(anchors, valid, boxes))
    return Outcome({'kd': total}, outputs)
