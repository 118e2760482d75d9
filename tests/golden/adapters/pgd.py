"""PGD: cases of the weights, with the drawn jitter, and cases of the two losses on one level,
with given weights."""
import torch

from mmkd.models.losses.feature import PGDClsLoss, PGDRegLoss
from mmkd.models.losses.feature.pgd_weights import background_weights, prediction_weights
from tests.golden.case import Outcome


def run(case):
    return losses(case) if 'student' in case.inputs else weights(case)


def weights(case):
    args = case.arguments(topk=9, alpha=0.8, low_bound=0., ignore_iof_thr=-1)
    free = 'anchors' not in case.inputs or 'free' in case.source or 'free' in case.name
    logits, predicted, boxes, labels = (case.input(name).detach() for name in (
        'teacher_cls', 'teacher_boxes', 'gt_bboxes', 'gt_labels'))
    if free:
        centres = case.input('points').detach()
    else:
        anchors = case.input('anchors').detach()
        centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    if args['topk'] > 1:  # one place needs no fit
        case.draw('rand', *sorted(name for name in case.inputs if name.startswith('rand_')))
    with case.feed_draws():
        fg = prediction_weights(centres, logits, predicted, boxes.reshape(-1, 4), labels.long(),
                                args['topk'], args['alpha'], args['low_bound'], transposed=free)
    bg = background_weights(centres, boxes.reshape(-1, 4), transposed=free)
    return Outcome({}, {'fg_weight': fg, 'bg_mask': bg})


def losses(case):
    args = case.arguments(temp=0.8, loss_weight=1., alpha=0.08, beta=0.04, gamma=0.128,
                          delta=8e-4)
    student, teacher = case.input('student'), case.input('teacher')
    fg, bg = (case.input(f'mask_{name}').detach()[:, 0] for name in ('fg', 'bg'))
    per_image, official = (
        PGDClsLoss(args['alpha'], args['beta'], args['delta'], args['temp'], cross_image=cross)
        .parts(student, teacher, fg, bg) for cross in (False, True))
    cls = dict(zip(('fg', 'bg', 'mask'), official, strict=True))
    factors = [args['loss_weight'] * args['alpha'], args['loss_weight'] * args['beta'],
               args['delta']]
    cls['loss'] = sum(f * part for f, part in zip(factors, official, strict=True))
    feature, attention = PGDRegLoss(args['gamma'], args['delta'], args['temp']).parts(
        student, teacher, fg)
    reg = args['gamma'] * feature + args['delta'] * attention
    outputs = {f'cls.{name}': value for name, value in cls.items()}
    outputs |= {'reg.loss': reg, 'cls.fg_per_image': per_image[0],
                'cls.bg_per_image': per_image[1]}
    return Outcome({'cls': cls['loss'], 'reg': reg, 'loss': cls['loss'] + reg},
                   {name: torch.as_tensor(value) for name, value in outputs.items()})
