"""The HeatmapDistiller of FD3D's repository: the map seen from above and the image neck. Without a
box the official loss of the map is 0 times 1 / 0, ours zero."""
from mmkd.models.losses.bev import FD3DHeatmapLoss
from mmkd.models.losses.feature import CWDLoss
from tests.golden.case import Outcome
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'student_bev': 'float B C Y X', 'teacher_bev': 'float B C Y X',
           'heatmap': 'float B 1 Y X', 'student_fpn': 'float N D h w',
           'teacher_fpn': 'float N D h w'},
    expected={'loss_bev': 'float', 'loss_cwd': 'float'},
    gradients=('student_bev', 'student_fpn'), loss='total')


def run(case):
    args = case.arguments(bev_weight=0.1, cwd_tau=2., cwd_weight=0.25)
    neck = CWDLoss(args['cwd_tau'], divergence='cross_entropy')
    losses = {'loss_bev': args['bev_weight'] * FD3DHeatmapLoss()(
        case.input('student_bev'), case.input('teacher_bev'), [case.input('heatmap').detach()]),
        'loss_cwd': args['cwd_weight'] * neck(case.input('student_fpn'),
                                              case.input('teacher_fpn'))}
    losses['total'] = losses['loss_bev'] + losses['loss_cwd']
    return Outcome(losses, zero=('loss_bev',))
