"""BEVDistill's InfoNCE between places (MoCoCLHead); the BatchNorms have the batch's statistics."""
from mmkd.models.losses.bev import BEVDistillRelationLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'student_feat': 'float B C Y X', 'teacher_feat': 'float B T V U',
           'sampling_points': 'float S B Q 2'},
    expected={'loss': 'float'}, gradients=('student_feat',), weights=True)
NAMES = dict(student_projection='img_projs.0.0', teacher_projection='pts_projs.0.0')
NAMES |= {f'{side}_encoder.{i}': f'encoder_{theirs}.{i}'
          for side, theirs in (('student', 'img'), ('teacher', 'pts')) for i in (0, 1, 3)}


def run(case):
    args = case.arguments(T=0.07, mid_channels=512, loss_weight=0.2, bn='train mode')
    if not args['bn'].startswith('train mode'):
        raise CaseError(f"{case.name}: bn={args['bn']!r}: only 'train mode' is known")
    student, teacher = case.input('student_feat'), case.input('teacher_feat')
    criterion = BEVDistillRelationLoss(args['T'], args['mid_channels'],
                                       student_channels=student.shape[1],
                                       teacher_channels=teacher.shape[1])
    for encoder in (criterion.student_encoder, criterion.teacher_encoder):
        norm = encoder[1]  # its running statistics are not recorded
        norm.running_mean = norm.running_var = norm.num_batches_tracked = None
    case.load(criterion, NAMES)
    # (stages, B, queries, 2): the places of all stages are one set
    places = case.input('sampling_points').detach().transpose(0, 1).flatten(1, 2)
    return Outcome({'loss': args['loss_weight'] * criterion.compare(student, teacher, places)})
