"""nuScenes with the keyframe before each."""
import os

from mmdet3d.datasets import NuScenesDataset

from ..registry import DATASETS

#: what of the previous keyframe's info is handed on
KEPT = ('token', 'timestamp', 'ego2global', 'images', 'lidar_points')


@DATASETS.register_module()
class NuScenesSequenceDataset(NuScenesDataset):
    """mmdet3d's NuScenesDataset whose samples also hold ``previous``.

    That is the info of the keyframe before (token, timestamp, ego2global, images, lidar_points), or
    None where there is none: at the start of a drive, or after a gap. mmdet3d's info files do not
    say which it is: it is the latest earlier one of the same drive (the name of a LiDAR file
    up to its first ``__``, as nuScenes names them; ``scene_token``, where an info has one).

    Args:
        max_gap (float): Seconds to the keyframe before, at most; keyframes are 0.5 s apart.

    The others are those of NuScenesDataset.
    """

    def __init__(self, *args, max_gap=1.2, **kwargs):
        self.max_gap = max_gap
        super().__init__(*args, **kwargs)

    def load_data_list(self):
        """The infos, each with ``previous``."""
        infos = super().load_data_list()
        before = previous_frames([drive_of(info) for info in infos],
                                 [info['timestamp'] for info in infos], self.max_gap)
        kept = [{key: info[key] for key in KEPT if key in info} for info in infos]
        for info, index in zip(infos, before, strict=True):
            info['previous'] = None if index is None else kept[index]
        return infos


def drive_of(info):
    """What the frames of one drive have in common."""
    name = os.path.basename((info.get('lidar_points') or {}).get('lidar_path', ''))
    return info.get('scene_token') or name.partition('__')[0]


def previous_frames(drives, timestamps, max_gap):
    """For each frame, the index of the latest earlier one of its drive, or None.

    Args:
        drives (list): What the frames of one drive have in common.
        timestamps (list[float]): Seconds.
        max_gap (float): Seconds; what is longer ago does not count.
    """
    previous = [None] * len(drives)
    last = {}
    for i in sorted(range(len(drives)), key=lambda i: timestamps[i]):
        before = last.get(drives[i])
        if before is not None and 0 < timestamps[i] - timestamps[before] <= max_gap:
            previous[i] = before
        last[drives[i]] = i
    return previous
