"""Mixed precision without a GPU."""
import contextlib

import torch
from mmengine.optim import OptimWrapper

from ..registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Autocast to bfloat16, on any device.

    mmengine's AmpOptimWrapper refuses to work on a CPU. bfloat16 has the range of float32,
    so that losses need no scaling. Takes the arguments of mmengine's OptimWrapper.
    """

    @contextlib.contextmanager
    def optim_context(self, model):
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
