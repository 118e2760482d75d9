"""CWD on detectors as mmrazor has it: one pyramid level, of the neck or of class scores.

Value and gradient are differences, of entropies and of the two softmaxes: where both sides are
alike, what was recorded is their rounding.
"""
from mmkd.models.losses.feature import CWDLoss
from tests.golden.case import Outcome


def run(case):
    args = case.arguments(tau=1., loss_weight=1.)
    tau, weight = args['tau'], args['loss_weight']
    student, teacher = case.input('student'), case.input('teacher')
    with case.feed_draws():
        loss = weight * CWDLoss(tau=tau)(student, teacher)
    logs = (teacher.flatten(2) / tau).log_softmax(2)
    planes = logs.shape[0] * logs.shape[1]
    return Outcome({'loss': loss}, terms={
        'out__loss': weight * tau ** 2 * (logs.exp() * logs).sum() / planes,
        'grad__loss__student': weight * tau * logs.exp().max() / planes})
