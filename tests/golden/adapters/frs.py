"""FRS: levels of features, after a convolution for each or one for all, and of class scores.

The official weights are raised linearly until ``distill_warm_step``; here that is the schedule of
the term. A weight of 0 leaves its loss out.
"""
from mmkd.models.connectors import ConvConnector
from mmkd.models.losses.feature import FRSLoss
from mmkd.models.schedules import Time, linear
from tests.golden.case import Outcome
from tests.golden.detection import pyramid

LOSSES = {'distill_feat_loss': 'feat', 'distill_cls_loss': 'cls'}
INPUTS = {'feature': ('student', 'teacher'), 'cls': ('student_cls', 'teacher_cls')}


def run(case):
    args = case.arguments(distill_feat_weight=0., distill_cls_weight=0., distill_warm_step=0,
                          iter=0, debug=False)
    criterion = FRSLoss(args['distill_feat_weight'], args['distill_cls_weight'],
                        from_logits=False)
    warm = linear(Time(args['iter'], None), end=args['distill_warm_step'])
    taps = {tap: [pyramid(case, name) for name in names] for tap, names in INPUTS.items()}
    students, teachers = taps['feature']
    adapted = [conv(x) for conv, x in zip(convolutions(case, students, teachers), students,
                                          strict=True)]
    with case.feed_draws():
        levels = [criterion(dict(feature=s, cls=s_cls), dict(feature=t, cls=t_cls))
                  for s, t, s_cls, t_cls in zip(adapted, teachers, *taps['cls'],
                                                strict=True)]
    losses = {official: warm * sum(level[ours] for level in levels)
              for official, ours in LOSSES.items()}
    return Outcome({**losses, 'total': sum(losses.values())})


def convolutions(case, students, teachers):
    """The adapting convolution of each level: its own, or the one that there is."""
    found = []
    for k, (student, teacher) in enumerate(zip(students, teachers, strict=True)):
        name = f'adap.{k}'
        weight = case.weights.get(case.find(name + '.weight'))
        if weight is None and found:
            found.append(found[0])
            continue
        conv = ConvConnector(student.shape[1], teacher.shape[1],
                             kernel_size=3 if weight is None else weight.shape[-1])
        found.append(case.load(conv, {'conv': name}))
    return found
