"""FGD, with the align convolution that the official loss owns where channels differ."""
import re

from mmkd.models.connectors import ConvConnector
from mmkd.models.losses.feature import FGDLoss
from tests.golden.case import Outcome
from tests.golden.files import CaseError

BLOCKS = {'{}_context.weigh': 'conv_mask_{}', '{}_context.transform.0': 'channel_add_conv_{}.0',
          '{}_context.transform.1': 'channel_add_conv_{}.1',
          '{}_context.transform.3': 'channel_add_conv_{}.3'}


def run(case):
    args = case.arguments(student_channels=None, teacher_channels=None, name=None, temp=0.5,
                          alpha_fgd=1e-3, beta_fgd=5e-4, gamma_fgd=1e-3, lambda_fgd=5e-6)
    student, teacher = case.input('student'), case.input('teacher')
    align = ConvConnector(student.shape[1], teacher.shape[1], when='unequal')
    case.load(align, {'conv': 'align'})
    options = {key: args[key] for key in args if key == 'temp' or key.endswith('_fgd')}
    criterion = FGDLoss(teacher.shape[1], **options, official_boxes=True)
    case.load(criterion, {ours.format(side): theirs.format(side[0]) for side in
                          ('student', 'teacher') for ours, theirs in BLOCKS.items()})
    extras = batch(case, len(teacher))
    with case.feed_draws():
        student = align(student)
        losses = criterion(student, teacher, **extras)
    (s_place, s_channel), (t_place, t_channel) = map(criterion.attention, (student, teacher))
    fg, bg = criterion.masks(size=teacher.shape[2:], **extras)
    return Outcome({'loss': sum(losses.values())},
                   {'mask_fg': fg, 'mask_bg': bg, 'S_s': s_place, 'C_s': s_channel,
                    'S_t': t_place, 'C_t': t_channel,
                    **criterion.parts(student, teacher, **extras)})


def batch(case, images):
    """Boxes and sizes of the images, of which no case records the padding."""
    sizes = [tuple(size) for size in case.input('img_shapes').tolist()]
    boxes = [case.input(f'gt_bboxes_{i}').detach().reshape(-1, 4) for i in range(images)]
    recorded = sum(bool(re.fullmatch(r'gt_bboxes_\d+', name)) for name in case.inputs)
    if not len(sizes) == recorded == images:
        raise CaseError(f'{case.name}: maps of {images} images, boxes of {recorded}, sizes of '
                        f'{len(sizes)}')
    return dict(boxes=boxes, image_sizes=sizes, padded_size=sizes[0])
