"""CWD on detectors as mmrazor has it: one pyramid level, of the neck or of class scores."""
from mmkd.models.losses.feature import CWDLoss
from tests.golden.case import Outcome


def run(case):
    args = case.arguments(tau=1., loss_weight=1.)
    student, teacher = case.input('student'), case.input('teacher')
    with case.feed_draws():
        loss = CWDLoss(tau=args['tau'])(student, teacher)
    return Outcome({'loss': args['loss_weight'] * loss})
