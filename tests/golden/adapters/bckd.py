"""BCKD's own code, which is LD's head with other losses: those of LD have weight 0."""
import torch

from mmkd.models.losses.box import BCKDLoss
from tests.golden.adapters._gfl import (
    DEFAULTS,
    assignment_outputs,
    gfl_head,
    inputs,
    skip_other_parts,
)
from tests.golden.case import Outcome
from tests.golden.detection import per_level, switched_off, weight_and

OFF = ('loss_ld', 'loss_ld_vlr', 'loss_kd_vlr', 'loss_score_kd_vlr', 'loss_im')


def run(case):
    args = case.arguments(**DEFAULTS, loss_kd_vlr=None, loss_score_kd=None,
                          loss_score_kd_vlr=None)
    switched_off(case, *OFF)
    skip_other_parts(case)
    case.skip('^mid__vlr_')  # a region that only losses of weight 0 look at
    student, teacher, head, _ = inputs(case, gfl_head(args))
    cls, beta = weight_and(case, 'loss_kd', args['loss_kd'], 'NovelKDLoss', beta=1)
    loc, = weight_and(case, 'loss_score_kd', args['loss_score_kd'], 'GIoULoss')
    criterion = BCKDLoss(cls, loc, beta)
    total = sum(criterion(student, teacher, head, head).values())
    parts = criterion.levels(student, teacher, head, head)
    zeros = [torch.zeros(())] * len(student['cls'])
    outputs = assignment_outputs(head, student) | {'kd_total': total}
    outputs |= per_level('loss_kd', parts.get('cls', zeros))
    outputs |= per_level('loss_score_kd', parts.get('loc', zeros))
    for name in ('loss_ld', 'loss_ld_vlr', 'loss_kd_neg', 'loss_score_kd_vlr', 'loss_im'):
        outputs |= per_level(name, zeros)
    return Outcome({'kd': total}, outputs)
