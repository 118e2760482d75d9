"""Deformable convolutions without a mask, as in ``mmkd.DepthNet``, for ONNX Runtime.

mmdeploy exports them as an operator that its library for ONNX Runtime does not have. It has the one
with a mask, which is the same where the mask is one.
"""
import torch
from mmdeploy.core import SYMBOLIC_REWRITER

#: the end of a slice that takes all
_ALL = 2 ** 62


@SYMBOLIC_REWRITER.register_symbolic('mmcv.ops.deform_conv.DeformConv2dFunction',
                                     backend='onnxruntime')
def deform_conv__masked(g, input, offset, weight, stride, padding, dilation, groups,
                        deform_groups, bias=False, im2col_step=32):
    """mmcv's ``deform_conv2d``: offset (B, 2 * groups * kernel, H, W) has y and x of each point."""
    def numbers(*values):
        return g.op('Constant', value_t=torch.tensor(values))

    points = g.op('Slice', offset, numbers(0), numbers(_ALL), numbers(1), numbers(2))
    mask = g.op('ConstantOfShape', g.op('Shape', points), value_t=torch.ones(1))
    return g.op('mmdeploy::MMCVModulatedDeformConv2d', input, offset, mask, weight,
                stride_i=stride, padding_i=padding, dilation_i=dilation, groups_i=groups,
                deform_groups_i=deform_groups)
