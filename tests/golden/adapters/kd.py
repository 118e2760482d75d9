"""KD, whose sources differ in the divisor and in the factor T^2.

========================== ============================== ===================
source                     arguments                      KDLoss
========================== ============================== ===================
CIRKD                      temperature                    pixel, T^2
mmrazor                    tau, reduction, loss_weight    batch (batchmean),
                                                          element (mean), T^2
IFVD, TorchDistiller, SKD  upsample, temperature          element, no T^2
RepDistiller, mdistiller   T                              batch, T^2
========================== ============================== ===================

The source decides; where it is none of these, the names of the arguments do.

Of one channel all sources make a softmax, which is the constant 1: their loss is zero, and is
replayed as that. KDLoss takes one channel for the logit of two classes.
"""
import torch.nn.functional as F

from mmkd.models.losses.logit import KDLoss
from mmkd.models.losses.softmax_kl import softmax_kl
from tests.golden.case import Outcome
from tests.golden.files import CaseError

SOURCES = {'mmrazor': 'mmrazor', 'repdistiller': 'cls', 'mdistiller': 'cls', 'ifvd': 'element',
           'torchdistiller': 'element', 'structure_knowledge': 'element', 'cirkd': 'pixel',
           'af-dcd': 'pixel', 'cskd': 'pixel'}
MARKS = {'tau': 'mmrazor', 'reduction': 'mmrazor', 'teacher_detach': 'mmrazor', 'T': 'cls',
         'upsample': 'element', 'temperature': 'pixel'}


def run(case):
    form = next((form for part, form in SOURCES.items()
                 if part in case.source.split(':')[0].lower()), None)
    form = form or next((form for mark, form in MARKS.items() if mark in case.args), 'pixel')
    student, teacher = (as_map(case.input(name)) for name in ('student', 'teacher'))
    criterion, factor, scale = FORMS[form](case, student.shape[0])
    if scale > 1:
        size = [side * scale for side in teacher.shape[2:]]
        student, teacher = (F.interpolate(x, size=size, mode='bilinear', align_corners=True)
                            for x in (student, teacher))
    if student.shape[1] == 1:
        return Outcome({'loss': softmax_kl(student, teacher, dim=1)})
    with case.feed_draws():
        return Outcome({'loss': factor * criterion(student, teacher)})


def as_map(x):
    """(N, C) class scores as a map of one pixel."""
    return x[:, :, None, None] if x.dim() == 2 else x


def pixel_form(case, _):
    args = case.arguments(temperature=1)
    return KDLoss(tau=args['temperature'], reduction='pixel'), 1., 1


def element_form(case, _):
    args = case.arguments(temperature=1, upsample=False)
    criterion = KDLoss(tau=args['temperature'], reduction='element', tau_squared=False)
    return criterion, 1., 8 if args['upsample'] else 1


def classification_form(case, _):
    args = case.arguments(T=4)
    return KDLoss(tau=args['T'], reduction='batch'), 1., 1


def mmrazor_form(case, batch):
    args = case.arguments(tau=1., reduction='batchmean', loss_weight=1., teacher_detach=True)
    known = {'batchmean': ('batch', 1.), 'sum': ('batch', batch), 'mean': ('element', 1.)}
    if args['reduction'] not in known:
        raise CaseError(f'{case.name}: reduction={args["reduction"]!r} gives no scalar loss')
    if not args['teacher_detach'] and any(key.endswith('__teacher') for key in case.expected):
        raise CaseError(f'{case.name}: teacher_detach=False: KDLoss gives a teacher no gradient')
    reduction, factor = known[args['reduction']]
    return KDLoss(tau=args['tau'], reduction=reduction), args['loss_weight'] * factor, 1


FORMS = {'pixel': pixel_form, 'element': element_form, 'cls': classification_form,
         'mmrazor': mmrazor_form}
