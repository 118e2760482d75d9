"""What DeFeat's repository computes of a neck and of RoIs, by its ``type`` of comma-separated
switches: FGFI's form for pyramids, and DeFeat."""
from mmdet.models.task_modules.prior_generators import AnchorGenerator

from mmkd.models.connectors import ConvConnector
from mmkd.models.losses.feature import DeFeatLoss, FGFILoss
from mmkd.models.losses.logit import DeFeatRoILoss
from tests.golden.case import Outcome
from tests.golden.detection import boxes, per_level, pyramid
from tests.golden.files import CaseError

KNOWN = {'neck-adapt', 'mask-neck-roi', 'mask-neck-gt', 'neck-decouple', 'pixel-wise', 'head-cls',
         'KL-decouple'}


class RPN:
    """The anchors of the repository's RPN: one scale, three ratios, from stride 4 on."""

    def __init__(self, levels):
        self.strides = [4 * 2 ** level for level in range(levels)]
        self.generator = AnchorGenerator(self.strides, ratios=[0.5, 1., 2.], scales=[8])

    def anchors(self, sizes):
        return self.generator.grid_priors(sizes, device='cpu')


def run(case):
    args = case.arguments(type='', roi_phi=0.5, hint_neck_w=1., hint_neck_back_w=0., head_cls_w=0.,
                          head_cls_back_w=0., head_cls_T=1., head_cls_back_T=1.)
    switches = set(args['type'].split(','))
    if switches - KNOWN or 'pixel-wise' not in switches:
        raise CaseError(f'{case.name}: type={args["type"]!r}: only {", ".join(sorted(KNOWN))} '
                        'are known, and pixel-wise is needed')
    losses, masks = neck(case, args, switches)
    if 'head-cls' in switches:
        losses |= rois(case, args)
    losses['total'] = sum(losses.values())
    return Outcome(losses, per_level('mask', masks))


def neck(case, args, switches):
    students, teachers = pyramid(case, 'student'), pyramid(case, 'teacher')
    if 'neck-adapt' in switches:
        students = [adapt(case, i, *sides)
                    for i, sides in enumerate(zip(students, teachers, strict=True))]
    head = RPN(len(students))
    found, sizes = boxes(case)[0], [x.shape[2:] for x in teachers]
    if 'mask-neck-roi' in switches and 'neck-decouple' not in switches:
        criterion = FGFILoss(args['roi_phi'], form='fpn')
        loss = criterion(students, teachers, found, None, head, head.strides)
        return ({'losskd_neck': args['hint_neck_w'] * loss},
                criterion.masks(sizes, found, head.strides, head))
    if 'mask-neck-gt' not in switches:
        raise CaseError(f'{case.name}: type={args["type"]!r} has no mask that is known')
    criterion = DeFeatLoss(args['hint_neck_w'], args['hint_neck_back_w'], wrap=True)
    parts = criterion(students, teachers, found, None, head.strides)
    names = {'losskd_neck': 'fg', 'losskd_neck_back': 'bg'}
    if 'neck-decouple' not in switches:
        names.pop('losskd_neck_back')
    return ({name: parts[part] for name, part in names.items()},
            criterion.masks(sizes, found, head.strides))


def adapt(case, level, student, teacher):
    connector = ConvConnector(student.shape[1], teacher.shape[1], 3)
    return case.load(connector, {'conv': f'neck_adapt.{level}.0'})(student)


def rois(case, args):
    if 'KL-decouple' not in args['type']:
        raise CaseError(f'{case.name}: type={args["type"]!r}: of head-cls only KL-decouple is '
                        'known')
    criterion = DeFeatRoILoss(args['head_cls_w'], args['head_cls_back_w'], args['head_cls_T'],
                              args['head_cls_T'], largest_is_background=True)
    parts = criterion(case.input('student_roi_cls'), case.input('teacher_roi_cls'),
                      case.input('roi_labels'))
    return {'losskd_hcls': parts['fg'], 'losskd_hcls_back': parts['bg']}
