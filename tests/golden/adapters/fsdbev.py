"""FSD-BEV's loss between the two maps; the gradient into its other branch is not recorded."""
from mmkd.models.losses.bev import FSDBEVLoss
from tests.golden.case import Outcome
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'student_bev': 'float B C Y X', 'teacher_bev': 'float B C Y X'},
    expected={'loss': 'float'}, gradients=('student_bev',))


def run(case):
    case.arguments()
    return Outcome({'loss': FSDBEVLoss()(case.input('student_bev'), case.input('teacher_bev'))})
