"""What mmdeploy 1.3.1 needs on current torch, each fix beside the versions that need it.

mmdeploy's files stay as they are. tests/deploy/test_compat.py shows for each fix that the failure
occurs without it: the day one is no longer needed, its test fails.
"""
import torch
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.core.rewriters import function_rewriter
from torch.onnx import symbolic_opset9

from ..utils.safe_loading import use_safe_loading


# torch >= 2.9: torch.onnx.export captures with torch.export unless told not to; mmdeploy's
# rewriters and symbolics are made for the TorchScript exporter, and it does not pass the argument.
@FUNCTION_REWRITER.register_rewriter('torch.onnx.export')
def export_by_tracing(*args, **kwargs):
    """``torch.onnx.export`` inside mmdeploy's context: by tracing unless asked otherwise."""
    kwargs.setdefault('dynamo', False)
    return FUNCTION_REWRITER.get_context().origin_func(*args, **kwargs)


def cast_long(g, value, non_blocking=False):
    """An ONNX Cast to int64, as ``symbolic_opset9._cast_Long`` was."""
    return g.op('Cast', value, to_i=torch.onnx.TensorProtoDataType.INT64)


# torch >= 2.9 has no symbolic_opset9._cast_Long, which mmdeploy's RoIAlign imports.
if not hasattr(symbolic_opset9, '_cast_Long'):
    symbolic_opset9._cast_Long = cast_long

# torch >= 2.0: torch.fx keeps its wrapped functions in a dict; mmdeploy appends and pops as of a
# list, and a torch.fx.wrap inside its context would leave every function rewritten.
if not isinstance(function_rewriter._wrapped_fns_to_patch, list):
    function_rewriter._wrapped_fns_to_patch = []

# torch >= 2.6 with mmengine 0.10.7: torch.load refuses what mmengine's Runner writes.
use_safe_loading()
