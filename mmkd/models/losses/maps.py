"""What every loss does with its two maps before its own formula."""
import math

import torch

from .closed_form import zero_of
from .resize import resize_to


def check_maps(owner, student, teacher, same_channels=False):
    """Raise ValueError if two tensors are not maps of the same images.

    Args:
        owner (str): The loss, for the message.
        student: (N, Cs, H, W), the map that is trained.
        teacher: (N, Ct, H', W'), the target.
        same_channels: whether Cs and Ct must be equal.
    """
    for name, x in (('student', student), ('teacher', teacher)):
        if x.dim() != 4:
            kind = ' (these are tokens (N, L, C): tap a layer that still has, or again has, ' \
                'height and width)' if x.dim() == 3 else ': tap a convolutional stage'
            raise ValueError(f'{owner}: {name} has shape {tuple(x.shape)}, but a map '
                             f'(N, C, H, W) is expected{kind}')
    if student.shape[0] != teacher.shape[0]:
        raise ValueError(f'{owner}: student has a batch of {student.shape[0]}, teacher of '
                         f'{teacher.shape[0]}: both must come from the same images')
    if same_channels:
        _check_channels(owner, student, teacher)


def need_taps(owner, side, value, names):
    """Raise ValueError if one of ``names`` is not among the taps of a side.

    Args:
        owner (str): The loss, for the message.
        side: 'student' or 'teacher'.
        value: what the side's tap gives, {name: map or pyramid} if it has several.
        names: what the loss needs.
    """
    missing = [name for name in names if not isinstance(value, dict) or name not in value]
    if missing:
        has = ', '.join(value) if isinstance(value, dict) else f'one {type(value).__name__}'
        raise ValueError(f'{owner}: the {side} has no {", ".join(missing)} (it has {has}): name '
                         f"the taps, {side}_tap=dict({', '.join(f'{name}=...' for name in names)})")


def check_levels(owner, student, teacher, same_channels=False):
    """Both sides as lists of maps, one per level; raise ValueError if these are not of the same
    images.

    Args:
        owner (str): The loss, for the message.
        student, teacher: lists of (N, C, H, W), or one map for a single level.
        same_channels: whether channels must be equal, level by level.

    Returns:
        Two lists of equal length.
    """
    sides = [x if isinstance(x, (list, tuple)) else [x] for x in (student, teacher)]
    if len(sides[0]) != len(sides[1]) or not sides[0]:
        raise ValueError(f'{owner}: student has {len(sides[0])} levels, teacher {len(sides[1])}: '
                         'as many are needed, at least one')
    for pair in zip(*sides, strict=True):
        check_maps(owner, *pair, same_channels)
    return sides


def nearest_stride(x, padded_size):
    """The stride of a map (N, C, H, W) of a batch of ``padded_size`` (h, w): a power of two."""
    return 2 ** round(math.log2(max(padded_size[1] / max(x.shape[3], 1), 1)))


def check_rows(owner, student, teacher, same_channels=False):
    """Raise ValueError if two tensors are not rows of the same RoIs.

    Args:
        owner (str): The loss, for the message.
        student: (R, Cs, ...), what is trained.
        teacher: (R, Ct, ...), the target.
        same_channels: whether Cs and Ct must be equal.
    """
    for name, x in (('student', student), ('teacher', teacher)):
        if x.dim() < 2:
            raise ValueError(f'{owner}: {name} has shape {tuple(x.shape)}, but rows (R, C), one '
                             'for every RoI, are expected')
    if student.shape[0] != teacher.shape[0]:
        raise ValueError(f'{owner}: student has {student.shape[0]} rows, teacher '
                         f'{teacher.shape[0]}: both must come from the same RoIs')
    if same_channels:
        _check_channels(owner, student, teacher)


def _check_channels(owner, student, teacher):
    if student.shape[1] != teacher.shape[1]:
        raise ValueError(
            f'{owner}: student has {student.shape[1]} channels, teacher {teacher.shape[1]}. Of '
            'logits: the models tell apart a different number of classes. Of features: project '
            "the student with a student_connector, for instance dict(type='mmkd.ConvConnector')")


def rows_of(x, count):
    """A map (N, count*D, H, W) as rows (N, H*W*count, D): of every position, ``count`` of them."""
    return x.permute(0, 2, 3, 1).reshape(len(x), x.shape[2] * x.shape[3] * count, -1)


def empty_loss(student, teacher):
    """Zero with a graph if one of the maps is empty (no image, no pixel), else None."""
    return None if student.numel() and teacher.numel() else zero_of(student)


def prepare(student, teacher, detach=True, resize=True):
    """Brings two feature maps to one precision and makes their sizes equal.

    Args:
        student: (N, Cs, H, W), the map that is trained.
        teacher: (N, Ct, H', W'), the target.
        detach: whether the gradient stops at the teacher.
        resize: whether a student map of another size is resized bilinearly to (H', W').

    Returns:
        Student and teacher, float32, or float64 where an input is.
    """
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    student, teacher = student.to(dtype), teacher.to(dtype)
    if detach:
        teacher = teacher.detach()
    if resize:
        student = resize_to(student, teacher.shape[2:])
    return student, teacher


def ratio(total, count):
    """``total / count``; of nothing (both are 0) it is 0, with its graph."""
    return total / torch.where(count > 0, count, torch.ones_like(count))


def two_classes(student, teacher):
    """Logits of one channel as those of two classes, (0, x), whose softmax is (1 - p, p).

    One channel through a sigmoid is how two classes are told apart with ``out_channels=1``; a
    softmax over it is the constant 1. The classes are background and foreground, as in mmseg.

    Args:
        student, teacher: (N, 1 or 2, H, W); with more channels they stay as they are, and so
            do two channels each.
    """
    channels = student.shape[1], teacher.shape[1]
    if 1 not in channels or max(channels) > 2:
        return student, teacher
    return tuple(torch.cat([torch.zeros_like(x), x], 1) if x.shape[1] == 1 else x
                 for x in (student, teacher))
