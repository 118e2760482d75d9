"""AT, in the original's, RepDistiller's, CIRKD's and mmrazor's form."""
from mmkd.models.losses.feature import ATLoss
from tests.golden.case import Outcome


def run(case):
    args = case.arguments(p=2, loss_weight=1.)
    criterion = ATLoss(p=args['p'], signed=True)
    with case.feed_draws():
        loss = criterion(case.input('student'), case.input('teacher'))
    return Outcome({'loss': args['loss_weight'] * loss})
