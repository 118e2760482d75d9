"""PointDistiller's local graphs of a stage of SECOND's BEV backbone."""
from mmkd.models.losses.bev import PointDistillerMapLoss
from tests.golden.adapters._pointdistiller import (
    ADAPTERS,
    RELEASED,
    build,
    check_choice,
    outcome,
)
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'teacher_feature': 'float B T Y X', 'student_feature': 'float B S Y X',
           'num_points': 'any? *', 'query': 'int *', 'knn': 'int B Q K', **ADAPTERS},
    expected={'loss': 'float 1', 'grad_teacher_adapt_conv': 'float? D U 1 1',
              'grad_student_adapt_conv': 'float? D V 1 1'},
    gradients=('student_feature',))


def run(case):
    args = case.arguments(num_voxels=256, kneighbours=128, reweight=True, softmax_temperature=1e-4,
                          layer_idx=0, released=None, **RELEASED)
    student, teacher = (case.input(f'{side}_feature').flatten(2).mT
                        for side in ('student', 'teacher'))
    criterion = build(case, PointDistillerMapLoss, args)
    neighbours = case.input('knn').long()
    query = case.input('query').long().reshape(neighbours.shape[:2])
    check_choice(case, criterion, teacher.amax(2), teacher, query, neighbours)
    loss = criterion.compare(student, teacher.detach(), query, neighbours,
                             criterion.weights(teacher.detach(), query))
    return outcome(criterion, loss)
