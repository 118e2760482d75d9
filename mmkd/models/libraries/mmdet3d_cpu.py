"""mmdet3d where there is no GPU: what its models need there, in one place.

mmcv's operators for dynamic voxels have CUDA kernels alone, and spconv asks CUDA for its stream in
the backward pass of CPU tensors, too. Where CUDA is there nothing is changed.
"""
import contextlib
import functools
import importlib

import torch

from ...ops import replace_mmcv_ops


@functools.cache
def work_without_gpu():
    """Let mmdet3d's models be trained on the CPU, until the process ends.

    Dynamic voxel encoders run on ``mmkd.ops`` (:func:`mmkd.ops.replace_mmcv_ops`). Sparse
    convolutions need spconv 2 (``pip install spconv``), whose CPU kernels mmdet3d takes by itself.
    """
    if torch.cuda.is_available():
        return
    replace_mmcv_ops()
    with contextlib.suppress(ImportError):  # without spconv, mmdet3d does without it, too
        importlib.import_module('spconv.pytorch.ops').get_current_stream = _no_stream


def _no_stream():
    """The number of the stream, which CPU kernels do not look at."""
    return 0
