"""What results are measured in: names in tables and metafiles, keys in logs, digits."""
from typing import NamedTuple


class Metric(NamedTuple):
    """One measure.

    Attributes:
        name (str): As OpenMMLab's metafiles have it.
        key (str): As the training log has it.
        scale (float): What a logged value is multiplied by.
        digits (int): Digits after the point, in publications and here.
    """

    name: str
    key: str
    scale: float
    digits: int

    def of(self, logged):
        """The value for a table, from the one in a log."""
        return round(float(logged) * self.scale, self.digits)

    def text(self, value):
        """A value as tables show it; nothing for one that is not known."""
        return '' if value is None else f'{value:.{self.digits}f}'

    @property
    def published(self):
        """Keys of the published numbers of teacher, student alone and distilled student."""
        return (f'Teacher {self.name} (published)', f'Student {self.name} (published)',
                f'{self.name} (published)')


METRICS = {metric.name: metric for metric in (
    Metric('mIoU', 'mIoU', 1, 2),
    Metric('box AP', 'coco/bbox_mAP', 100, 1),
    Metric('mask AP', 'coco/segm_mAP', 100, 1),
    Metric('mAP', 'pascal_voc/mAP', 100, 2),
    Metric('nuScenes mAP', 'NuScenes metric/pred_instances_3d_NuScenes/mAP', 100, 1),
    Metric('NDS', 'NuScenes metric/pred_instances_3d_NuScenes/NDS', 100, 1),
    Metric('KITTI 3D AP', 'Kitti metric/pred_instances_3d/KITTI/Overall_3D_AP11_moderate', 1, 2),
    Metric('Waymo L2 mAPH', 'Waymo metric/Overall/L2 mAPH', 100, 2))}


def metric_of(result):
    """The measure of one entry of ``Results`` in a metafile: that of its published number, or
    its ``Metric`` where nothing is published.

    Raises:
        ValueError: It publishes a number in none, or in several.
    """
    if result.get('Metric') in METRICS and not result.get('Metrics'):
        return METRICS[result['Metric']]
    found = [metric for metric in METRICS.values()
             if metric.published[-1] in (result.get('Metrics') or {})]
    if len(found) != 1:
        raise ValueError(f"one of {', '.join(m.published[-1] for m in METRICS.values())} is "
                         f"needed, not {list(result.get('Metrics') or {})}")
    return found[0]
