"""Which scene is recorded when, and under which names."""
from dataclasses import dataclass

import numpy as np

from ..trees import SPLITS
from .sensors import CAMERAS, LIDAR

PERIOD = 0.5  # seconds between keyframes


@dataclass
class Scene:
    """Which scene, and how it is recorded.

    Attributes:
        split (str): 'train' or 'val'.
        index (int): number in its split.
        name (str): nuScenes' name for it.
        facts (dict): the tree's parameters.
    """

    split: str
    index: int
    name: str
    facts: dict

    def rng(self, *more):
        """A random generator that depends on the seed, the scene and ``more``."""
        return np.random.default_rng([self.facts['seed'], SPLITS[self.split], self.index, *more])


def times(facts):
    """(keyframe, scan, seconds) of all turns of the scanner; the last scan of a keyframe is at its
    own time, those before it lead up to it."""
    scans = facts['sweeps'] + 1
    return [(frame, number, PERIOD * (frame - 1 + (number + 1) / scans))
            for frame in range(facts['keyframes']) for number in range(scans)]


def file_name(split, index, channel, frame, number, sweeps):
    """Path of a recording below the root; its name ends with the time in microseconds."""
    folder = 'samples' if number == sweeps else 'sweeps'
    ending = 'pcd.bin' if channel == LIDAR else 'jpg'
    time = timestamp(split, index, frame, number, sweeps)
    return f'{folder}/{channel}/drawn-{split}-{index:04d}__{channel}__{time}.{ending}'


def timestamp(split, index, frame, number, sweeps):
    """Microseconds since 1970; scenes are an hour apart."""
    start = 1_500_000_000 + 3600 * (index + 10_000 * SPLITS[split])
    return start * 1_000_000 + round(
        PERIOD * 1e6 * (frame + 1 - (sweeps - number) / (sweeps + 1)))


def scene_files(split, index, facts):
    """All recordings of a scene, relative to the root."""
    sweeps = facts['sweeps']
    files = [file_name(split, index, LIDAR, frame, number, sweeps)
             for frame, number, _ in times(facts)]
    return files + [file_name(split, index, channel, frame, sweeps, sweeps)
                    for channel in CAMERAS for frame in range(facts['keyframes'])]
