"""LD as mmdet 3.3 has it: the main part alone."""
from mmdet.registry import MODELS

from mmkd.models.losses.box import LDLoss
from tests.golden.adapters._gfl import KL, inputs, skip_other_parts
from tests.golden.case import Outcome
from tests.golden.detection import per_level, weight_and


def run(case):
    skip_other_parts(case)
    head = MODELS.build(dict(case.args, _scope_='mmdet'))
    student, teacher, head, boxes = inputs(case, head)
    main, tau = weight_and(case, 'loss_ld', case.args['loss_ld'], KL, T=10)
    criterion = LDLoss(main, tau, vlr_weight=0, cls_weight=0)
    total = sum(criterion(student, teacher, head, boxes).values())
    parts = criterion.levels(student, teacher, head, boxes)
    return Outcome({'kd': total}, per_level('loss_ld', parts['ld']))
