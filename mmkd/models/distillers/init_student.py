"""Starting the student's neck and head from the teacher's (FGD, MGD, PGD: "inheriting")."""
import torch
from mmengine.logging import print_log

_BACKBONES = ('backbone.', 'image_encoder.')


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
    raise ValueError(f'init_student={choice!r}: expected False, True (with one teacher), or the '
                     f"name of a teacher ({', '.join(map(repr, teachers))})")


def inheritance(student, teacher):
    """name -> tensor of the teacher's state outside the backbone that the student has, too.

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
                         'widths. Remove init_student')
    return fitting


@torch.no_grad()
def inherit(student, teacher):
    """Copy into ``student`` what :func:`inheritance` finds."""
    fitting, state = inheritance(student, teacher), student.state_dict()
    for key, value in fitting.items():
        state[key].copy_(value)
    rest = [key for key in state if not key.startswith(_BACKBONES) and key not in fitting]
    print_log(f'init_student: {len(fitting)} tensors of the student start as those of '
              f'{teacher.name}' + (f'; {len(rest)} outside the backbone fit none: '
                                   + ', '.join(rest[:4]) + (', ...' if len(rest) > 4 else '')
                                   if rest else ''), logger='current')
