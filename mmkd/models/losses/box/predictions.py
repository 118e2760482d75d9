"""What losses on the predictions of dense detectors share: pairs of levels, and two divergences."""
import torch
import torch.nn.functional as F

from ..closed_form import attach_gradient, wants_gradient, zero_of
from ..maps import check_maps, need_taps, rows_of


def check_predictions(owner, student, teacher, names=('cls', 'reg')):
    """Raise ValueError unless both sides are dicts of pyramids that fit each other.

    Args:
        owner (str): The loss, for the message.
        student, teacher (dict): name -> list of maps (N, C, H, W), one per level.
        names: what both must have.
    """
    for side, value in (('student', student), ('teacher', teacher)):
        need_taps(owner, side, value, names)
    levels = {(side, name): len(value[name]) for name in names
              for side, value in (('student', student), ('teacher', teacher))}
    if len(set(levels.values())) > 1:
        counts = ', '.join(f'{side} {name} {count}' for (side, name), count in levels.items())
        raise ValueError(f'{owner}: the numbers of levels differ: {counts}')
    for name in names:
        for level, pair in enumerate(zip(student[name], teacher[name], strict=True)):
            check_maps(f'{owner}, {name} of level {level}', *pair)
            if pair[0].shape != pair[1].shape:
                raise ValueError(
                    f'{owner}: {name} of level {level} has shape {tuple(pair[0].shape)} in the '
                    f'student and {tuple(pair[1].shape)} in the teacher: both need the same '
                    'classes, anchors per position, bins per side (reg_max) and map sizes')


def need_sigmoid(owner, *heads):
    """Raise ValueError if one of the DenseHeads tells classes apart by a softmax."""
    for head in heads:
        if not head.sigmoid:
            raise ValueError(f'{owner} compares the classes one by one, as sigmoids, and '
                             f'{head.name} has a softmax over them (use_sigmoid=False in its '
                             'loss_cls)')


def sizes_of(levels):
    """(H, W) of each map."""
    return [tuple(level.shape[-2:]) for level in levels]


def level_rows(maps, labels):
    """Rows (N, P, D) of each level, float32 or wider, where labels are (N, P) per level."""
    rows = []
    for level, label in zip(maps, labels, strict=True):
        count = label.shape[1] // max(level.shape[2] * level.shape[3], 1)
        rows.append(rows_of(level.to(torch.promote_types(level.dtype, torch.float32)),
                            max(count, 1)))
    return rows


def is_empty(pyramids):
    """Whether there is no image, or nowhere a position."""
    return not sum(level.numel() for levels in pyramids.values() for level in levels)


def no_loss(pyramids):
    """Zero with a graph to every map of a dict of pyramids."""
    return sum(zero_of(level) for levels in pyramids.values() for level in levels)


def quality_bce(student, teacher, weight, beta=1.):
    """Sum of binary cross-entropy with the teacher's sigmoid, times |p - t| ** beta, weighted.

    p and t are the sigmoids. The gradient, which stops at the teacher, is computed in closed
    form; where both agree it is 0, also for a beta below 1, whose slope is infinite there.

    Args:
        student, teacher: logits (N, P, K).
        weight: (N, P), without gradient.

    Returns:
        Scalar.
    """
    wanted = wants_gradient(student)
    with torch.no_grad():
        p, t = student.sigmoid(), teacher.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(student, t, reduction='none')
        apart = p - t
        focus = apart.abs() ** beta * weight[..., None]
        value = (entropy * focus).sum()
        grad = None
        if wanted:
            # d |apart| ** beta = beta * |apart| ** beta / apart, over 1 where both agree
            over = torch.where(apart == 0, 1., apart)
            grad = focus * (apart + beta * entropy * p * (1 - p) / over)
            grad = grad.masked_fill_(apart == 0, 0)
    return attach_gradient(student, value, grad)


def divergence(student, teacher, tau=1.):
    """KL(softmax(teacher / tau) || softmax(student / tau)) of the last axis, which it sums over.

    Without the factor tau ** 2; the gradient stops at the teacher.
    """
    target = (teacher.detach() / tau).log_softmax(-1)
    return (target.exp() * (target - (student / tau).log_softmax(-1))).sum(-1)
