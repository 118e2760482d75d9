"""mmdet3d where there is no GPU: what its models need there, in one place.

mmcv's operators for dynamic voxels have CUDA kernels alone, spconv asks CUDA for its stream in the
backward pass of CPU tensors, too, and NuScenesMetric puts the boxes of single images onto the GPU.
Where CUDA is there nothing is changed.
"""
import contextlib
import functools
import importlib
from unittest import mock

import torch
from mmcv.ops.sparse_conv import SparseConvolution

from ...ops import replace_mmcv_ops


@functools.cache
def work_without_gpu():
    """Let mmdet3d's models be trained and evaluated on the CPU, until the process ends.

    Dynamic voxel encoders run on ``mmkd.ops`` (:func:`mmkd.ops.replace_mmcv_ops`). Sparse
    convolutions need spconv 2 (``pip install spconv``), whose CPU kernels mmdet3d takes by itself.
    """
    if torch.cuda.is_available():
        return
    replace_mmcv_ops()
    with contextlib.suppress(ImportError):  # without it, check_kernels says so where it is needed
        importlib.import_module('spconv.pytorch.ops').get_current_stream = _no_stream
    with contextlib.suppress(ImportError):  # without nuscenes-devkit
        metric = importlib.import_module('mmdet3d.evaluation.metrics.nuscenes_metric')
        metric.nusc_box_to_cam_box3d = _staying_here(metric.nusc_box_to_cam_box3d)


def _no_stream():
    """The number of the stream, which CPU kernels do not look at."""
    return 0


def check_kernels(model, called):
    """Refuse sparse convolutions that cannot run: mmcv's, which mmdet3d takes without spconv.

    Args:
        model (nn.Module): The detector.
        called (str): How messages call it.

    Raises:
        ValueError: There is no GPU for them.
    """
    if torch.cuda.is_available():
        return
    name = next((name for name, module in model.named_modules()
                 if isinstance(module, SparseConvolution)), None)
    if name is not None:
        raise ValueError(
            f"{called} ({type(model).__name__}) has sparse convolutions ({name.partition('.')[0]}),"
            ' for which mmcv has CUDA kernels alone, and here is no GPU: pip install spconv, '
            'version 2, whose CPU kernels mmdet3d takes by itself, or train on a GPU')


def _staying_here(function):
    """``function``, in which ``Tensor.cuda`` leaves tensors where they are."""
    @functools.wraps(function)
    def called(*args, **kwargs):
        with mock.patch.object(torch.Tensor, 'cuda', lambda tensor, *_, **__: tensor):
            return function(*args, **kwargs)
    return called
