"""CMKD of the repository for KITTI: the BEV feature and the predictions of anchors. Maps of
predictions are recorded as (B, H, W, channels). A case may hold either part alone."""
from mmkd.models.losses.bev import CMKDAnchorLoss, CMKDFeatureLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

TAPS = dict(cls='cls', box='box_reg', dir='dir_cls')
ARRAYS = BareArrays(
    given={'student_bev': 'float? B C Y X', 'teacher_bev': 'float? B C Y X',
           **{f'{side}_{name}': f'float? B H W {letter}' for side in ('student', 'teacher')
              for name, letter in (('cls', 'K'), ('box', 'R'), ('dir', 'D'))}},
    expected={'loss_bev': 'float?', 'loss_cls': 'float?', 'loss_box_plus_dir': 'float?',
              'loss_loc': 'float?', 'loss_dir': 'float?'},
    gradients=('student_bev', 'student_cls', 'student_box', 'student_dir'), loss='total')


def run(case):
    args = case.arguments(
        LOSS_BEV_WEIGHT=32, LOSS_BEV_TYPE='L2', use_nonzero_mask=False, qfl_beta=2.,
        cls_pos_threshold=0.1, reg_pos_threshold_on_class_sum=0.1, smooth_l1_beta=1 / 9,
        weights=dict(cls=2., loc=2., dir=0.4), num_class=3, anchors_per_cell=2)
    if args['qfl_beta'] != 2 or args['cls_pos_threshold'] != args['reg_pos_threshold_on_class_sum']:
        raise CaseError(f'{case.name}: qfl_beta must be 2, and both thresholds equal')
    losses = {}
    if 'student_bev' in case.inputs:
        feature = CMKDFeatureLoss(args['LOSS_BEV_TYPE'], args['use_nonzero_mask'])
        losses['loss_bev'] = args['LOSS_BEV_WEIGHT'] * feature(case.input('student_bev'),
                                                               case.input('teacher_bev'))
    if 'student_cls' in case.inputs:
        criterion = CMKDAnchorLoss(*(args['weights'][name] for name in ('cls', 'loc', 'dir')),
                                   args['cls_pos_threshold'], args['smooth_l1_beta'])
        parts = criterion(*({tap: case.input(f'{side}_{name}').permute(0, 3, 1, 2)
                             for name, tap in TAPS.items()} for side in ('student', 'teacher')))
        losses |= {f'loss_{name}': value for name, value in parts.items()}
        losses['loss_box_plus_dir'] = parts['loc'] + parts['dir']
    losses['total'] = sum(losses.get(f'loss_{name}', 0.)
                          for name in ('bev', 'cls', 'box_plus_dir'))
    return Outcome(losses)
