"""PointDistiller's local graphs of pillars.

Which of equally full pillars are centers, and which of equally near ones neighbours, is free: the
recorded ones are taken, if they are as full and as near as mmkd's own.
"""
import torch

from mmkd.models.losses.bev import PointDistillerLoss
from tests.golden.adapters._pointdistiller import (
    ADAPTERS,
    RELEASED,
    build,
    check_choice,
    outcome,
)
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'teacher_feature': 'float N T', 'student_feature': 'float N S', 'num_points': 'int N',
           'query': 'int Q', 'knn': 'int 1 Q K', **ADAPTERS},
    expected={'loss': 'float 1', 'grad_teacher_adapt_conv': 'float D U 1 1',
              'grad_student_adapt_conv': 'float D V 1 1'},
    gradients=('student_feature',))


def run(case):
    args = case.arguments(num_voxels=6000, kneighbours=128, reweight=True,
                          softmax_temperature=0.01, released=None, **RELEASED)
    student, teacher = case.input('student_feature')[None], case.input('teacher_feature')[None]
    counts = case.input('num_points')[None]
    criterion = build(case, PointDistillerLoss, args, temperature=args['softmax_temperature'])
    query, neighbours = case.input('query').long()[None], case.input('knn').long()
    check_choice(case, criterion, counts, teacher, query, neighbours)
    loss = criterion.compare(student, teacher.detach(), query, neighbours,
                             criterion.weights(counts, query))
    assert torch.isfinite(loss)
    return outcome(criterion, loss)
