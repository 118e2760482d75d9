"""SparseKD's logits of one task of a CenterHead, in the settings of the released configs.

The student's heatmap is recorded as probabilities, the teacher's as logits; boxes are drawn and
numbered on the teacher's grid.
"""
import torch

from mmkd.models.losses.bev.sparsekd import SparseKDLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

BRANCHES = ('center', 'center_z', 'dim', 'rot', 'vel')
SIDES = dict(student='Q P', teacher='Y X')
ARRAYS = BareArrays(
    given={'student_hm': 'float B K Q P', 'teacher_hm_logits': 'float B K Y X',
           'gt_heatmap': 'float B K Y X', 'inds': 'int B N', 'masks': 'int B N',
           **{f'{side}_reg.{branch}': f'float? B {branch.replace("_", "")} {size}'
              for side, size in SIDES.items() for branch in BRANCHES}},
    expected=dict.fromkeys(('loss_total', 'loss_hm', 'loss_reg'), 'float'),
    gradients=('student_hm', *(f'student_reg.{branch}' for branch in BRANCHES)),
    loss='loss_total')
#: settings that must be as released, and what each may be called
RELEASED = dict(hm_type=('MSE', 'MSELoss'), thresh=(0.,), fg_mask=(True,), soft_mask=(True,),
                rank=(-1,), align=('teacher, bilinear',))


def run(case):
    args = case.arguments(hm_weight=10., reg_weight=0.2, code_weights=None,
                          **{key: names[0] for key, names in RELEASED.items()})
    other = [key for key, names in RELEASED.items() if args[key] not in names]
    if other:
        raise CaseError(f"{case.name}: {', '.join(other)} must be as released: {RELEASED}")
    teacher = case.input('teacher_hm_logits').sigmoid().clamp(1e-4, 1 - 1e-4)
    heatmap = args['hm_weight'] * SparseKDLoss.heatmap(
        case.input('student_hm'), teacher, case.input('gt_heatmap'))
    parts = [name for name in BRANCHES if f'student_reg.{name}' in case.inputs]
    student, teacher = ([case.input(f'{side}_reg.{name}') for name in parts] for side in SIDES)
    reg = case.input('student_hm').sum() * 0
    # the official code leaves the regression out where shapes differ
    if args['reg_weight'] and parts and student[0].shape == teacher[0].shape:
        student, teacher = (torch.cat(maps, 1) for maps in (student, teacher))
        weights = code_weights(case, args['code_weights'], student)
        reg = args['reg_weight'] * SparseKDLoss.regression(
            student * weights, teacher * weights, case.input('inds'), case.input('masks'))
    return Outcome({'loss_total': heatmap + reg}, {'loss_hm': heatmap, 'loss_reg': reg})


def code_weights(case, weights, like):
    """(1, R, 1, 1): what each channel of the regression weighs, 1 unless the case says."""
    weights = like.new_tensor(weights or [1.])
    weights = weights[:1] if (weights == weights[0]).all() else weights
    if len(weights) not in (1, like.shape[1]) or (weights < 0).any():
        raise CaseError(f'{case.name}: code_weights={weights.tolist()} are not those of '
                        f'{like.shape[1]} channels of the regression')
    return weights[:, None, None]
