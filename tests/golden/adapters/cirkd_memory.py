"""CIRKD's memory relations, pixel and region, with the queues as published.

The official class is given the contrast slots per class, which its trainer computes as
``size // classes + 1``; mmkd's is given the size.
"""
from mmkd.models.connectors import ProjectionConnector
from mmkd.models.losses.relation import CIRKDMemoryLoss
from tests.golden.case import Outcome

HEAD = {str(k): f'project_head.{k}' for k in (0, 1, 3)}
QUEUES = {'pixel_queue': 'teacher_pixel_queue', 'pixel_queue_ptr': 'pixel_queue_ptr',
          'region_queue': 'teacher_segment_queue', 'region_queue_ptr': 'segment_queue_ptr'}


def run(case):
    student, teacher = case.input('student'), case.input('teacher')
    labels = case.input('labels')
    queues = [case.weights[case.find(QUEUES[name])] for name in ('pixel_queue', 'region_queue')]
    args = case.arguments(
        num_classes=len(queues[0]), pixel_memory_size=queues[0].shape[1],
        region_memory_size=queues[1].shape[1], region_contrast_size=None,
        pixel_contrast_size=None, contrast_kd_temperature=1., contrast_temperature=0.1,
        s_channels=None, t_channels=None, ignore_label=-1, pixel_update_freq=16)
    classes, ignored = args['num_classes'], args['ignore_label']
    head = ProjectionConnector(student.shape[1], teacher.shape[1])
    criterion = CIRKDMemoryLoss(
        num_classes=classes, teacher_channels=teacher.shape[1], ignore_index=ignored,
        pixel_contrast_size=total_size(args['pixel_contrast_size'], classes, 4096),
        region_contrast_size=total_size(args['region_contrast_size'], classes, 1024),
        queue_rule='published',
        **{name: args[name] for name in (
            'pixel_memory_size', 'region_memory_size', 'contrast_kd_temperature',
            'contrast_temperature', 'pixel_update_freq')})
    case.load(head, HEAD)
    case.load(criterion, QUEUES)
    with case.feed_draws():
        losses = criterion(head(student), teacher, labels)
    losses = {'loss_' + name: value for name, value in losses.items()}
    nothing_left = not (labels != ignored).any()
    return Outcome(losses, zero=losses if nothing_left else ())


def total_size(per_class, classes, default):
    """The size that gives ``per_class`` slots; ``default`` where the case names none."""
    return default if per_class is None else (per_class - 1) * classes
