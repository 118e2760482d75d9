"""Do the channels of both sides suit a loss that needs equal ones?"""
import re

import torch

#: taps of class scores, by name or by the layer's path; not a class branch's features
_SCORES = re.compile(r'(logits|conv_seg|cls(?!_convs|_tower|_feat))(?!.*:input)')


def check_channels(loss, taps, student, teacher):
    """Raise ValueError, with the cure, where they do not.

    Args:
        loss (nn.Module): ``same_channels`` says that it needs equal channels, ``two_classes``
            that one channel may be compared with two.
        taps (dict): side -> the taps as they are written.
        student, teacher (Tensor | list | dict): What the loss gets.
    """
    if not getattr(loss, 'same_channels', False):
        return
    for name, s, t in _pairs(student, teacher):
        both = {s.shape[1], t.shape[1]}
        if len(both) == 1 or both == {1, 2} and getattr(loss, 'two_classes', False):
            continue
        written = [tap.get(name, '') if isinstance(tap, dict) else tap for tap in taps.values()]
        of = f' of {name!r}' if name else ''
        raise ValueError(f'{type(loss).__name__} needs equal channels, but{of} the student gives '
                         f'{s.shape[1]} and the teacher {t.shape[1]}: {_cure(written, name, both)}')


def _cure(written, name, both):
    """What to do about the taps ``written``; ``name`` is theirs where the term has several."""
    scores = all(map(_is_scores, written))
    if scores and both == {1, 2}:
        return ('one channel with a sigmoid and two with a softmax tell the same classes '
                'apart, but of the losses on logits only mmkd.KDLoss compares them; use it, '
                'or models with as many channels')
    if scores and any('rpn_cls' in str(tap) for tap in written):
        return ('the RPNs have a different number of anchors at each place; use a teacher with as '
                'many, or distil features')
    if scores and all('cls' in str(tap) for tap in written):
        return ('student and teacher tell apart a different number of classes, or have a different '
                'number of anchors at each place (RetinaNet 9; FCOS, ATSS and GFL 1); use a '
                'teacher trained on the same classes with as many anchors, or distil features')
    if scores:
        return ('student and teacher tell apart a different number of classes; use a teacher '
                'trained on the same classes, or distil features')
    connector = "dict(type='mmkd.ConvConnector')"
    return f"add student_connector={f'dict({name}={connector})' if name else connector}"


def _is_scores(tap):
    """Is what this tap reads a score of each class? Towers (cls_convs) and inputs are none."""
    return all(_SCORES.search(one) for one in ([tap] if isinstance(tap, str) else tap))


def _pairs(student, teacher, name=None):
    """(name or None, tensor, tensor) of what is compared: of the same name and level."""
    if isinstance(student, dict) and isinstance(teacher, dict):
        return [pair for key in student if key in teacher
                for pair in _pairs(student[key], teacher[key], key)]
    if isinstance(student, list) and isinstance(teacher, list):
        return [(name, *pair) for pair in zip(student, teacher, strict=False)]
    return [(name, student, teacher)] if isinstance(student, torch.Tensor) and isinstance(
        teacher, torch.Tensor) else []
