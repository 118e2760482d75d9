"""Segmentors of mmseg: the exported file gives class numbers; they and the logits are compared."""
import onnx
import torch
from mmdeploy.codebase.mmseg.deploy.segmentation import process_model_config

from .tasks import Check, Task, fix_pictures, inputs_of, register

#: name of the extra output in the copy of the file that shows it
LOGITS = 'logits'


@register
class Segmentation(Task):
    """What :class:`~mmkd.deploy.tasks.Task` asks for, for ``EncoderDecoder`` and its kin."""
    name = 'segmentation'
    kinds = ('mmseg.EncoderDecoder',)

    def adapt(self, cfg, deploy_cfg):
        fix_pictures(cfg, deploy_cfg, process_model_config, lambda kind: kind == 'Resize')

    def compare(self, pytorch, exported, data):
        inputs = inputs_of(pytorch, data)['inputs']
        with torch.no_grad():
            wanted = pytorch.encode_decode(inputs, [dict(img_shape=inputs.shape[2:])])
        got = exported.probe(show_logits, LOGITS)({'input': inputs})[LOGITS]
        mask = exported.backend.wrapper({'input': inputs})['output']
        if mask.is_floating_point():  # with_argmax=False
            mask = decide(pytorch, mask)
        return dict(logits=(wanted - got).abs().max().item(), scale=wanted.abs().max().item(),
                    pixels=mask.numel(), equal=(decide(pytorch, wanted) == mask).sum().item())

    def checks(self, results):
        pixels = sum(one['pixels'] for one in results)
        # float32 has seven digits: what is 1e-5 of a logit of 1 is 1e-4 of one of 10.
        scale = max(1., *(one['scale'] for one in results))
        return [Check('largest difference of logits', max(one['logits'] for one in results),
                      1e-5 * scale),
                Check('equal mask pixels', sum(one['equal'] for one in results) / pixels, 0.999,
                      at_least=True)]


def decide(model, logits):
    """Class numbers (N, 1, H, W) of logits (N, C, H, W), as mmseg takes them."""
    if logits.shape[1] == 1:
        return (logits.sigmoid() > model.decode_head.threshold).long()
    return logits.argmax(dim=1, keepdim=True)


def show_logits(graph):
    """Add what the class numbers of an ``onnx.GraphProto`` are made of to its outputs."""
    makers = {name: node for node in graph.node for name in node.output}
    name = graph.output[0].name
    while name in makers and makers[name].op_type in ('ArgMax', 'Cast', 'Greater', 'Sigmoid'):
        name = makers[name].input[0]
    graph.node.append(onnx.helper.make_node('Identity', [name], [LOGITS]))
    graph.output.append(onnx.helper.make_empty_tensor_value_info(LOGITS))
