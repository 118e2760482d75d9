"""itKD's auto-encoder and attention of one task, with the recorded weights."""
import torch

from mmkd.models.losses.bev import ITKDLoss
from tests.golden.case import Outcome
from tests.golden.layouts import BareArrays

CODEC = {'ds_teacher': 'S T', 'us_student': 'T S', 'downsample.0': 'P T', 'downsample.2': 'Q P',
         'downsample.4': 'E Q', 'upsample.0': 'U E', 'upsample.2': 'V U', 'upsample.4': 'S V'}
OURS = {'us_student': 'up', 'downsample': 'encoder', 'upsample': 'decoder'}
ARRAYS = BareArrays(
    given={'teacher_feat': 'float B T Y X', 'student_feat': 'float B S Y X', 'ind': 'int B M',
           'mask': 'int B M', 'student_box': 'float B R Y X', 'teacher_box': 'float B R Y X',
           **{f'w_tse.{name}.weight': f'float {dims} 1 1' for name, dims in CODEC.items()},
           **{f'w_tse.{name}.bias': f'float {dims[0]}' for name, dims in CODEC.items()},
           'w_att.attn_weight.weight': 'float R W 1', 'w_att.attn_weight.bias': 'float R'},
    expected=dict.fromkeys(('loss_tse', 'loss_attention', 'loss_total'), 'float'),
    gradients=('student_feat', 'student_box'), loss='loss_total')


def run(case):
    args = case.arguments(teacher_in=None, student_in=None, code=32, released=None, lam=0.5,
                          head_split=[3, 2, 1, 3, 2])
    student, teacher = case.input('student_feat'), case.input('teacher_feat')
    places = case.input('ind'), case.input('mask')
    classes, *parts = args['head_split']
    heads = dict(heatmap=[classes], reg=[sum(parts)])
    criterion = ITKDLoss(dict(heads, bev=student.shape[1]), dict(heads, bev=teacher.shape[1]),
                         args['code'], tuple(parts)).to(case.dtype)
    weights = {'mixers.0' + name[len('w_att.attn_weight'):]: value
               for name, value in case.inputs.items() if name.startswith('w_att.')}
    for name, value in case.inputs.items():
        top, _, rest = name.removeprefix('w_tse.').partition('.')
        if name.startswith('w_tse.') and top in OURS:  # ds_teacher takes no part
            weights[f'{OURS[top]}.{rest}'] = value
    criterion.load_state_dict({name: value.detach() for name, value in weights.items()})
    codec = criterion.codec(student, teacher.detach(), [places])
    head = criterion.head(0, case.input('student_box'), case.input('teacher_box').detach(),
                          *places)
    assert torch.isfinite(codec + head)
    return Outcome({'loss_total': codec + head}, {'loss_tse': codec, 'loss_attention': head})
