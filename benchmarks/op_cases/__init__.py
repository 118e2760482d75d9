"""What ``benchmarks/ops.py`` times: one file per family of operators, each with ``cases``."""
from collections.abc import Callable
from typing import NamedTuple


class Case(NamedTuple):
    """One operator at one size, ours and one other way: what users run today, and in a further case
    the best that one would write in plain PyTorch (or has in scipy).

    Attributes:
        name: e.g. 'hard_voxelize'.
        size: e.g. '243,000 points'.
        ours, theirs: functions of no argument; ``theirs`` is None where nothing exists.
        baseline: what ``theirs`` is, e.g. 'mmcv 2.1.0'.
        target: largest ratio ours / theirs that is good enough, or None.
        bytes_moved: bytes that any implementation must read and write: the memcpy floor.
        memcpy_target: largest multiple of a memcpy of these bytes, or None.
        grows: whether it is timed at several times the points, too.
    """
    name: str
    size: str
    ours: Callable
    theirs: Callable | None
    baseline: str
    target: float | None = None
    bytes_moved: int | None = None
    memcpy_target: float | None = None
    grows: bool = True
