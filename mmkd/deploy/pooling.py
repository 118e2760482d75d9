"""Adaptive average pooling as it is, where mmdeploy replaces it by one with equal windows.

mmdeploy writes ``AvgPool`` with windows of ``floor(size / bins)``, which is another function unless
``bins`` divides the size: PSPNet's logits then differ in the second decimal. Here both axes are
multiplied by the matrix of their averages: constants where the size is fixed, computed from the
input's shape where it is not. Exact in both cases.
"""
import torch
from mmdeploy.core import FUNCTION_REWRITER
from torch.nn.modules.utils import _pair

NAME = 'torch.nn.functional.adaptive_avg_pool2d'


def averages(size, bins, like):
    """The (bins, size) matrix whose row i averages from floor(i * size / bins) to
    ceil((i + 1) * size / bins), as PyTorch does.

    Args:
        size (int | Tensor): Length of the axis; a tensor of one integer while tracing.
        bins (int): Number of averages.
        like (Tensor): Gives dtype and device.
    """
    row = torch.arange(bins, device=like.device)[:, None]
    place = torch.arange(size, device=like.device)[None]
    start = torch.div(row * size, bins, rounding_mode='trunc')
    stop = torch.div((row + 1) * size + bins - 1, bins, rounding_mode='trunc')
    inside = torch.logical_and(place >= start, place < stop).to(like.dtype)
    return inside / (stop - start).to(like.dtype)


@FUNCTION_REWRITER.register_rewriter(NAME, backend='onnxruntime')
@FUNCTION_REWRITER.register_rewriter(NAME, backend='openvino')
@FUNCTION_REWRITER.register_rewriter(NAME, backend='tensorrt')
def adaptive_avg_pool2d(input, output_size):
    """(..., H, W) -> (..., *output_size), each value the average of its window."""
    bins = _pair(output_size)
    if all(number == 1 for number in bins):  # a global average, which ONNX has
        return FUNCTION_REWRITER.get_context().origin_func(input, output_size)
    height, width = input.shape[-2:]
    if bins[0] is not None:
        input = averages(height, bins[0], input) @ input
    if bins[1] is not None:
        input = input @ averages(width, bins[1], input).transpose(0, 1)
    return input
