"""PKD as mmrazor has it: one map, or levels ``student_k`` and ``teacher_k`` that are added up."""
from mmkd.models.losses.feature import PKDLoss
from tests.golden.case import Outcome
from tests.golden.detection import pyramid


def run(case):
    args = case.arguments(loss_weight=1., resize_stu=True)
    criterion = PKDLoss(resize_stu=args['resize_stu'])
    sides = ([case.input(side)] if side in case.inputs else pyramid(case, side)
             for side in ('student', 'teacher'))
    with case.feed_draws():
        loss = sum(criterion(*maps) for maps in zip(*sides, strict=True))
    return Outcome({'loss': args['loss_weight'] * loss})
