"""Do the channels of both sides suit a loss that needs equal ones?"""
import re

import torch

#: taps of class scores, by name or by the layer's path; not a class branch's features
_SCORES = re.compile(r'logits|conv_seg|cls(?!_convs|_tower)')


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
        raise ValueError(f'{type(loss).__name__} needs equal channels, but the student gives '
                         f'{s.shape[1]} and the teacher {t.shape[1]}: {_cure(taps, name, both)}')


def _cure(taps, name, both):
    """What to do about the tap of this name, None for the only one."""
    written = [tap.get(name) if isinstance(tap, dict) else tap for tap in taps.values()]
    logits = all(_SCORES.search(str(one)) for one in written)
    if logits and both == {1, 2}:
        return ('one channel with a sigmoid and two with a softmax tell the same classes '
                'apart, but of the losses on logits only mmkd.KDLoss compares them; use it, '
                'or models with as many channels')
    if logits:
        return ('student and teacher tell apart a different number of classes; use a teacher '
                'trained on the same classes, or distil features')
    connector = "dict(type='mmkd.ConvConnector')"
    return 'add student_connector=' + (connector if name is None else f'dict({name}={connector})')


def _pairs(student, teacher, name=None):
    """(name, student's, teacher's) of the tensors that are compared: of one name and level."""
    if isinstance(student, dict) and isinstance(teacher, dict):
        return [pair for key in student if key in teacher
                for pair in _pairs(student[key], teacher[key], key)]
    if isinstance(student, list) and isinstance(teacher, list):
        return [(name, *pair) for pair in zip(student, teacher, strict=False)]
    return [(name, student, teacher)] if isinstance(student, torch.Tensor) and isinstance(
        teacher, torch.Tensor) else []
