"""Weights of models that were never trained, but give many boxes with scores of all sizes."""
import copy

import torch
from torch.nn.modules.batchnorm import _BatchNorm


def spread(model, data, finals, bias=-2., width=2., seed=0):
    """Randomise: batch norms with the statistics of ``data``, classifiers with scores that spread.

    Args:
        model (nn.Module): A detector, in place.
        data (dict): A preprocessed batch.
        finals (list of nn.Module): The last layers of the classifiers.
        bias (float): Their mean logit.
        width (float): The standard deviation of their logits.
        seed (int): Of every choice.
    """
    random = torch.Generator().manual_seed(seed)
    for name, layer in model.named_modules():
        if name.endswith('conv_offset'):  # zero at first, which is no deformation
            layer.weight.data.normal_(0, .05, generator=random)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.weight.data.uniform_(.7, 1.3, generator=random)
        norm.bias.data.normal_(0, .2, generator=random)
    model.train()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        for norm in norms:  # some freeze themselves in model.train()
            norm.training = True
        model(**copy.deepcopy(data), mode='predict')
    model.eval()
    for layer in finals:
        layer.weight.data.normal_(generator=random)
    outputs = {layer: [] for layer in finals}
    hooks = [layer.register_forward_hook(lambda m, x, y: outputs[m].append(y.flatten()))
             for layer in finals]
    with torch.no_grad():
        model(**copy.deepcopy(data), mode='predict')
    for hook in hooks:
        hook.remove()
    for layer, values in outputs.items():
        values = torch.cat(values) - (0 if layer.bias is None else float(layer.bias.mean()))
        scale = width / float(values.std())
        layer.weight.data *= scale
        if layer.bias is not None:
            layer.bias.data.normal_(bias - scale * float(values.mean()), .3, generator=random)
    return model
