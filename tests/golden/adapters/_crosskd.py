"""CrossKD's official detectors on recorded features of two pyramids, for any head."""
import torch
from mmdet.registry import MODELS

from mmkd.models.connectors import CrossHeadConnector
from mmkd.models.losses.box import CrossKDLoss
from tests.golden.case import Outcome
from tests.golden.detection import data_samples, head_view, per_level, pyramid, weight_and
from tests.golden.files import CaseError

BOXES = dict(GIoULoss='giou', IoULoss='iou', KnowledgeDistillationKLDivLoss='kl')
SHORT = dict(cls='cls', reg='reg', centerness='ctr')


def run(case):
    args = case.arguments(kd_cfg=None, head=None, strides=None, train_cfg=None)
    # the detector's own losses and their gradient are not distillation's
    case.skip(r'^out__(loss_(cls|bbox|dfl|centerness)_\d+|total)$|^grad__all__')
    student, teacher = (build_head(case, side) for side in ('student', 'teacher'))
    teacher.eval().requires_grad_(False)
    maps, teacher_maps = pyramid(case, 'student'), pyramid(case, 'teacher')
    views = dict(student_head=head_view(student).bind(data_samples(case, len(maps[0]))),
                 teacher_head=head_view(teacher))
    criterion, after = build_loss(case, args['kd_cfg'])
    connector = CrossHeadConnector(views['teacher_head'], after=after)

    with torch.no_grad():
        taught = views['teacher_head'].rest(teacher_maps, teacher_maps, after=0)
        towers = hold(teacher, teacher_maps, after)
        own = views['student_head'].rest(maps, maps, after=0)
        taught = taught | {f'{name}_tower': value for name, value in towers.items()}
    held = hold(student, maps, after)
    crossed = connector(held, taught)
    if not criterion.weights['centerness']:
        taught.pop('centerness', None)
    total = sum(criterion(crossed, taught, **views).values())

    outputs = {'kd_total': total}
    parts = criterion.levels(crossed, taught, **views)
    names = dict(cls='loss_cls_kd', reg='loss_reg_kd', centerness='losses_center_kd')
    for part, values in parts.items():  # FCOS sums over levels before it divides
        values = [sum(values)] if args['head']['type'] == 'FCOSHead' else values
        outputs |= per_level(names[part], values)
    for side, values in (('tea', views['teacher_head'].rest(teacher_maps, teacher_maps, 0)),
                         ('stu', own), ('reused', crossed)):
        shown = as_the_head_gives(values, student if side == 'stu' else teacher)
        for name, short in SHORT.items():
            if name in shown:
                outputs |= per_level(f'{side}_{short}', shown[name])
    for side, levels in (('stu', held['cls']), ('tea', towers['cls'])):
        # what is kept is overwritten by the ReLU that follows, which works in place
        outputs |= per_level(f'{side}_cls_hold', [x.relu() if after else x for x in levels])
    return Outcome({'kd': total}, outputs)


def build_head(case, side):
    """The official head of ``side``, with its recorded weights."""
    head = MODELS.build(dict(case.args['head'], train_cfg=case.args['train_cfg'],
                             _scope_='mmdet'))
    return case.load(head, {name: f'{side}.bbox_head.{name}' for name in head.state_dict()})


def build_loss(case, cfg):
    """CrossKDLoss, and the number of the convolution that the features come after."""
    cfg = dict(cfg)
    cls, beta = weight_and(case, 'loss_cls_kd', cfg.pop('loss_cls_kd'), 'KDQualityFocalLoss',
                           beta=1)
    boxes = BOXES.get(cfg['loss_reg_kd']['type'])
    reg, tau, reduction = weight_and(case, 'loss_reg_kd', cfg.pop('loss_reg_kd'), tuple(BOXES),
                                     T=1, class_reduction='sum')
    if reduction == 'mean':  # over the bins
        reg = reg / (case.args['head'].get('reg_max', 16) + 1)
    centre = cfg.pop('loss_center_kd', None)
    centre = 0 if centre is None else list(weight_and(
        case, 'loss_center_kd', centre, 'CrossEntropyLoss', use_sigmoid=True))[0]
    after = cfg.pop('reused_teacher_head_idx')
    if cfg:
        raise CaseError(f'{case.name}: kd_cfg has unknown arguments {", ".join(cfg)}')
    # mmdet adds float32's eps to what it divides by
    return CrossKDLoss(cls, reg, centre, beta, boxes, tau,
                       min_normaliser=1e-6 + torch.finfo(torch.float32).eps), after


def hold(head, maps, after):
    """Features of both towers after convolution number ``after`` and its norm."""
    towers = {}
    for name, convs in (('cls', head.cls_convs), ('reg', head.reg_convs)):
        levels = maps
        for i in range(after):
            levels = [convs[i](x, activate=i < after - 1) for x in levels]
        towers[name] = levels
    return towers


def as_the_head_gives(values, head):
    """Raw predictions in the form of the head's own output: FCOS gives distances."""
    if type(head).__name__ != 'FCOSHead':
        return values
    scales = [1 if head.training or not head.norm_on_bbox else stride for stride in head.strides]
    return values | {'reg': [  # exp(88) is the largest that float32 holds
        (x.clamp(min=0) if head.norm_on_bbox else x.clamp(max=88.).exp()) * scale
        for x, scale in zip(values['reg'], scales, strict=True)]}
