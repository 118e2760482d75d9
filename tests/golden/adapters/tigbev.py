"""TiG-BEV: keypoints and channels within boxes, and the depth within objects."""
import torch

from mmkd.models.losses.bev import TiGBEVDepthLoss, TiGBEVLoss
from tests.golden.boxes3d import from_old, per_sample
from tests.golden.case import Outcome
from tests.golden.files import CaseError
from tests.golden.layouts import BareArrays

ARRAYS = BareArrays(
    given={'student_feat': 'float B C Y X', 'teacher_feat': 'float B T Y X',
           'boxes_old': 'float K D', 'box_sample': 'int K', 'embed_weight': 'float T C 1 1',
           'embed_bias': 'float T', 'depth_logits': 'float? M E h w', 'fg_index': 'float? B N h w',
           'depth_gt': 'float? B N h w'},
    expected={'sample_grid': 'float? K S S 2', 'sampled_student': 'float? K C S S',
              'sampled_teacher': 'float? K T S S', 'loss_inter_keypoint': 'float',
              'loss_inter_channel': 'float', 'loss_inner_depth': 'float?'},
    gradients=('student_feat', 'embed_weight', 'depth_logits'), loss='total')


def run(case):
    args = case.arguments(x_sample_num=24, y_sample_num=None, released_sample_num=24,
                          enlarge_width=1.6, inter_keypoint_weight=100., inter_channel_weight=10.,
                          inner_depth_weight=1., cell=0.8, range=51.2, dbound=[1, 60, 1])
    student, teacher = case.input('student_feat'), case.input('teacher_feat')
    check_grid(case, args, student.shape[2:])
    area = (-args['range'],) * 2 + (args['range'],) * 2
    criterion = TiGBEVLoss(
        args['x_sample_num'], args['enlarge_width'], args['inter_keypoint_weight'],
        args['inter_channel_weight'], student_channels=student.shape[1],
        teacher_channels=teacher.shape[1])
    # the convolution's weights are inputs here, for their gradients are recorded
    criterion.embed = Given(case.input('embed_weight'), case.input('embed_bias'))
    sample = case.input('box_sample')
    boxes = per_sample(from_old(case.input('boxes_old')), sample, len(student))
    parts = criterion(student, teacher, boxes, area)
    losses = {f'loss_{name}': value for name, value in parts.items()}
    # recorded in the order of the boxes, ours in that of the samples
    grids = [criterion.keypoints(rows, area, student.shape[2:]) for rows in boxes]
    order = torch.cat([(sample == i).nonzero().flatten() for i in range(len(student))]).argsort()
    outputs = {'sample_grid': torch.cat(grids)[order]}
    for side, x in (('student', student), ('teacher', teacher)):
        read = [criterion.read(x[i:i + 1], grid) for i, grid in enumerate(grids)]
        outputs[f'sampled_{side}'] = torch.cat(read)[order]
    if 'depth_logits' in case.inputs:
        inner = TiGBEVDepthLoss(args['dbound'])
        losses['loss_inner_depth'] = args['inner_depth_weight'] * inner.compare(
            case.input('depth_logits').softmax(1), case.input('fg_index').detach().long(),
            case.input('depth_gt').detach())
    losses['total'] = sum(losses.values())
    return Outcome(losses, outputs)


def check_grid(case, args, size):
    """Refuses keypoints that are no square, and cells that are not those of the map."""
    if args['y_sample_num'] not in (None, args['x_sample_num']):
        raise CaseError(f'{case.name}: x_sample_num and y_sample_num differ, and the official code '
                        'breaks off')
    cells = 2 * args['range'] / args['cell']
    if any(abs(cells - count) > 1e-3 for count in size):
        raise CaseError(f'{case.name}: maps of {tuple(size)} cells have not the cells of '
                        f'{args["cell"]} m in a range of {args["range"]} m')


class Given(torch.nn.Module):
    """A 1x1 convolution of weights that are an input."""

    def __init__(self, weight, bias):
        super().__init__()
        self.given = weight, bias

    def parameters(self, recurse=True):
        return iter(self.given)

    def forward(self, x):
        return torch.nn.functional.conv2d(x, *self.given)
