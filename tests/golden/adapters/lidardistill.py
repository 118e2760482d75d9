"""LiDAR Distillation's three modes; slots without a box are kept, as boxes of no size."""
import torch

from mmkd.models.losses.bev import LiDARDistillationLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'teacher_feat': 'float B C Y X', 'student_feat': 'float B C Y X',
           'rois': 'float? B R D'},
    expected={'loss': 'float'}, gradients=('student_feat',))
MODES = ('roi', 'gt', 'all')


def run(case):
    args = case.arguments(mode='roi', cell=None, range=None)
    student, teacher = case.input('student_feat'), case.input('teacher_feat').detach()
    if args['mode'] not in MODES:
        raise CaseError(f'{case.name}: mode={args["mode"]!r}, one of {MODES} is known')
    if args['mode'] == 'all':
        return Outcome({'loss': LiDARDistillationLoss('all')(student, teacher)})
    metres = args['range'] or []
    sides = [(metres[i + 2] - metres[i]) / args['cell'] for i in (0, 1)] if len(
        metres) == 4 and args['cell'] else []
    if [round(x, 3) for x in sides] != [*student.shape[:1:-1]]:
        raise CaseError(f'{case.name}: range={args["range"]} and cell={args["cell"]} are not those '
                        f'of a map of {tuple(student.shape[2:])}')
    rois = case.input('rois').detach()
    criterion = LiDARDistillationLoss()
    if args['mode'] == 'roi':
        return Outcome({'loss': criterion(student, teacher, list(rois), metres)},
                       zero=() if rois.shape[1] else ('loss',))
    # boxes of class 0 are padding; the whole is multiplied by the rectangles again
    kept = [one[one[:, -1] != 0] for one in rois]
    weight = torch.stack([criterion.shares(one, metres, student.shape[2:]).sum(0) for one in kept])
    loss = (criterion.distance(student, teacher) * weight).sum()
    loss = loss / len(rois) / max(1, rois.shape[1]) * weight.sum()
    count = sum(int((one[:, -1] > 0).sum()) for one in rois)
    return Outcome({'loss': loss / max(1, count)}, zero=() if count else ('loss',))
