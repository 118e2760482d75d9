"""SimDistill's heatmaps of one task; recorded is what has been through a sigmoid once."""
from mmkd.models.losses.bev import SimDistillResponseLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'student_prob': 'float B K Y X', 'teacher_prob': 'float B K Y X'},
    expected={'loss_cls': 'float'}, gradients=('student_prob',), loss='loss_cls')


def run(case):
    student, teacher = case.input('student_prob'), case.input('teacher_prob')
    args = case.arguments(weight=0.25, beta=2., num_class=student.shape[1])
    if args['beta'] != 2 or args['num_class'] != student.shape[1]:
        raise CaseError(f'{case.name}: beta must be 2 and num_class the number of maps, '
                        f'{student.shape[1]}')
    loss = SimDistillResponseLoss().compare(student, teacher.detach())
    return Outcome({'loss_cls': args['weight'] * loss})
