"""Do the channels of both sides suit a loss that needs equal ones?"""
import torch


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
    for s, t in _pairs(student, teacher):
        both = {s.shape[1], t.shape[1]}
        if len(both) == 1 or both == {1, 2} and getattr(loss, 'two_classes', False):
            continue
        raise ValueError(f'{type(loss).__name__} needs equal channels, but the student gives '
                         f'{s.shape[1]} and the teacher {t.shape[1]}: {_cure(taps, both)}')


def _cure(taps, both):
    logits = all(any(word in str(written) for word in ('logits', 'conv_seg', 'cls'))
                 for written in taps.values())
    if logits and both == {1, 2}:
        return ('one channel with a sigmoid and two with a softmax tell the same classes '
                'apart, but of the losses on logits only mmkd.KDLoss compares them; use it, '
                'or models with as many channels')
    if logits:
        return ('student and teacher tell apart a different number of classes; use a teacher '
                'trained on the same classes, or distil features')
    return "add student_connector=dict(type='mmkd.ConvConnector')"


def _pairs(student, teacher):
    """The tensors that are compared: of the same name and level."""
    if isinstance(student, dict) and isinstance(teacher, dict):
        return [pair for name in student if name in teacher
                for pair in _pairs(student[name], teacher[name])]
    if isinstance(student, list) and isinstance(teacher, list):
        return list(zip(student, teacher, strict=False))
    return [(student, teacher)] if isinstance(student, torch.Tensor) and isinstance(
        teacher, torch.Tensor) else []
