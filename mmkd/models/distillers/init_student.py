"""Starting the student from the teacher: neck and head of equal width (FGD, MGD, PGD:
"inheriting"), or a narrower network as a whole (SparseKD)."""
from typing import NamedTuple

import torch
from mmengine.logging import print_log

from ...utils.hints import refuse_unknown
from .channel_choice import KEEPS, choose_channels

_BACKBONES = ('backbone.', 'image_encoder.')


class Heritage(NamedTuple):
    """What of a teacher the student starts as.

    Attributes:
        teacher (str): Its name.
        places (dict): key of the student's state -> for each dimension the places in the
            teacher's tensor, None for all of them.
        whole (bool): Whether the backbone belongs to it.
    """
    teacher: str
    places: dict
    whole: bool


def plan_heritage(choice, student, teachers, runs):
    """The Heritage that ``init_student`` asks for; None for False.

    Args:
        choice (bool | str | dict): See OfflineDistiller.
        student (nn.Module): The student.
        teachers (dict): name -> Teacher.
        runs (dict): name of a teacher -> DryRun.

    Raises:
        ValueError: There is no such teacher, or its tensors do not fit.
    """
    keep = None
    if isinstance(choice, dict):
        refuse_unknown('init_student', choice, ('keep', 'teacher'))
        keep, whose = choice.get('keep'), choice.get('teacher', True)
        if keep not in KEEPS:
            raise ValueError(f'init_student: keep={keep!r}, expected one of '
                             f"{', '.join(map(repr, KEEPS))}: which channels of the teacher a "
                             'narrower student starts from')
    else:
        whose = choice
    name = source_of_student(whose, teachers)
    if name is None or student is None:
        return None
    if keep is None:
        return Heritage(name, inheritance(student, teachers[name]), False)
    if name not in runs:  # it does not run, which is told
        return None
    return Heritage(name, choose_channels(student, teachers[name], runs[name].batch, keep), True)


def source_of_student(choice, teachers):
    """The name of the teacher that ``init_student`` chooses; None for False.

    Args:
        choice (bool | str): True for the only teacher, or a teacher's name.
        teachers (dict): name -> Teacher.

    Raises:
        ValueError: There is no such teacher, or True with several.
    """
    if choice is False:
        return None
    if choice is True and len(teachers) == 1:
        return next(iter(teachers))
    if choice in teachers:
        return choice
    raise ValueError(f'init_student={choice!r}: expected False, True (with one teacher), the '
                     f"name of a teacher ({', '.join(map(repr, teachers))}), or dict(keep=..., "
                     'teacher=...) for a narrower student')


def inheritance(student, teacher):
    """The places, all of them, of the teacher's state outside the backbone that the student has,
    too.

    Raises:
        ValueError: Nothing is called the same, or something has another shape.
    """
    theirs = teacher.model.state_dict()
    found = {key: value for key, value in student.state_dict().items()
             if not key.startswith(_BACKBONES)}
    fitting = {key: theirs[key] for key in found if key in theirs}
    other = [f'{key} ({tuple(found[key].shape)} in the student, {tuple(value.shape)} in the '
             'teacher)' for key, value in fitting.items() if value.shape != found[key].shape]
    if other or not fitting:
        what = f'{len(other)} tensors have another shape in {teacher.name}, such as {other[0]}' \
            if other else f'nothing of {teacher.name} outside its backbone is called as in the ' \
            'student'
        raise ValueError(f'init_student: {what}; it is for networks of one family with equal '
                         'widths. Remove init_student, or take dict(keep=...) for a narrower '
                         'student')
    return {key: (None,) * value.ndim for key, value in fitting.items()}


@torch.no_grad()
def inherit(student, teacher, heritage):
    """Copy into ``student`` what belongs to its :class:`Heritage`."""
    state, theirs = student.state_dict(), teacher.model.state_dict()
    for key, places in heritage.places.items():
        value = theirs[key]
        for axis, chosen in enumerate(places):
            if chosen is not None:
                value = value.index_select(axis, chosen.to(value.device))
        state[key].copy_(value)
    rest = [key for key in state if key not in heritage.places
            and (heritage.whole or not key.startswith(_BACKBONES))]
    print_log(f'init_student: {len(heritage.places)} tensors of the student start as those of '
              f'{teacher.name}' + (f'; {len(rest)} '
                                   + ('' if heritage.whole else 'outside the backbone ')
                                   + 'fit none: ' + ', '.join(rest[:4])
                                   + (', ...' if len(rest) > 4 else '') if rest else ''),
              logger='current')
