"""BEVDistill's feature loss near the boxes. Without a box the official one is 0 / 0, ours zero."""
from mmkd.models.losses.bev import BEVDistillDenseLoss
from tests.golden.boxes3d import from_old, per_sample, rounded_toward_zero
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'student_feat': 'float B C Y X', 'teacher_feat': 'float B C V U',
           'boxes_old': 'float K D', 'box_sample': 'int K'},
    expected={'fg_map': 'float B Y X', 'loss_unweighted': 'float', 'loss': 'float'},
    gradients=('student_feat',))


def run(case):
    args = case.arguments(fg_weight='gt', loss_weight=0.01, min_overlap=0.1, min_radius=1,
                          pc_range=[-51.2, 51.2], voxel_size=0.8, out_size_factor=8, grid=128)
    if args['fg_weight'] != 'gt':
        raise CaseError(f"{case.name}: fg_weight={args['fg_weight']!r}: only 'gt' is known")
    student, teacher = case.input('student_feat'), case.input('teacher_feat')
    low, high = args['pc_range']
    cell = args['voxel_size'] * args['out_size_factor']
    if any(abs((high - low) / cell - count) > 1e-3 for count in student.shape[2:]):
        raise CaseError(f'{case.name}: maps of {tuple(student.shape[2:])} cells have not the cells '
                        f'of {cell} m in pc_range={args["pc_range"]}')
    criterion = BEVDistillDenseLoss(args['min_overlap'], args['min_radius'])
    area = (low, low, high, high)
    boxes = rounded_toward_zero(from_old(case.input('boxes_old')), area, student.shape[2:])
    boxes = per_sample(boxes, case.input('box_sample'), len(student))
    loss = criterion(student, teacher, boxes, area)
    return Outcome({'loss': args['loss_weight'] * loss},
                   {'loss_unweighted': loss,
                    'fg_map': criterion.foreground(boxes, area, student)[:, 0]},
                   zero=('loss', 'loss_unweighted'))
