"""CIRKD's mini-batch pixel-to-pixel relation."""
from mmkd.models.losses.relation import CIRKDMiniBatchLoss
from tests.golden.case import Outcome


def run(case):
    args = case.arguments(temperature=0.1, pooling=False)
    criterion = CIRKDMiniBatchLoss(tau=args['temperature'], pooling=args['pooling'])
    with case.feed_draws():
        return Outcome({'loss': criterion(case.input('student'), case.input('teacher'))})
