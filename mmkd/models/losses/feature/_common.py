"""What every feature loss does with its two maps before its own formula."""
import torch

from ..resize import resize_to


def prepare(student, teacher, detach=True, resize=True):
    """Brings two feature maps to one precision, checks them and makes their sizes equal.

    Args:
        student: (N, Cs, H, W), the map that is trained.
        teacher: (N, Ct, H', W'), the target.
        detach: whether the gradient stops at the teacher.
        resize: whether a student map of another size is resized bilinearly to (H', W'); this
            also asks for equal channels.

    Returns:
        Student and teacher, float32, or float64 where an input is.

    Raises:
        ValueError: if the maps are not 4-D, or their batch sizes or channels differ.
    """
    for name, x in (('student', student), ('teacher', teacher)):
        if x.dim() != 4:
            raise ValueError(f'{name} has shape {tuple(x.shape)}, but a feature map (N, C, H, W) '
                             'is expected: tap a convolutional stage')
    if student.shape[0] != teacher.shape[0]:
        raise ValueError(f'student has a batch of {student.shape[0]}, teacher of '
                         f'{teacher.shape[0]}: both must come from the same images')
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    student, teacher = student.to(dtype), teacher.to(dtype)
    if detach:
        teacher = teacher.detach()
    if resize:
        if student.shape[1] != teacher.shape[1]:
            raise ValueError(
                f'student has {student.shape[1]} channels, teacher {teacher.shape[1]}: give the '
                "term a student_connector, for instance dict(type='mmkd.ConvConnector')")
        student = resize_to(student, teacher.shape[2:])
    return student, teacher
