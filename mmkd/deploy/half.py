"""Students in half precision: the network of a float32 ONNX file, and nothing around it.

ONNX Runtime's own converter is not used: it rounds every tensor to half precision, also between
operators that are to stay in float32, and inputs and outputs of the graph.
"""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

from .network import JOINS, LAYERS, Network, save

#: operators whose inputs are all of one type; of others it is the first alone
_ONE_TYPE = {*LAYERS, *JOINS, 'PRelu', 'Clip', 'InstanceNormalization', 'LayerNormalization'}
#: a variance may be above 65504
_FLOAT32 = {*DEFAULT_OP_BLOCK_LIST, 'RoiAlign', 'BatchNormalization'} - {'Resize'}


def to_fp16(onnx_file, target):
    """Write the half precision form of an ONNX file; its inputs and outputs stay float32.

    Args:
        onnx_file (str): The float32 file.
        target (str): The file to write.
    """
    model = onnx.load(onnx_file)
    _convert(model.graph, Network(model.graph).inside)
    save(model, target)


def _convert(graph, names):
    """Let the nodes of these names compute in half precision, with casts around them."""
    inside = [node for node in graph.node if node.name in names and node.op_type not in _FLOAT32]
    chosen = {node.name for node in inside}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    read = {output.name for output in graph.output}
    read.update(_read(node for node in graph.node if node.name not in chosen))
    nodes, there = [], set()
    for node in graph.node:
        if node.name not in chosen:
            nodes.append(node)
            continue
        for i, name in enumerate(node.input):
            if not name or not _is_data(node, i):
                continue
            half = f'{name}_half'
            if half not in there and name in weights:
                values = numpy_helper.to_array(weights[name])
                with np.errstate(over='ignore'):
                    values = values.astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(values, half))
            elif half not in there:
                nodes.append(_cast(name, half, TensorProto.FLOAT16))
            there.add(half)
            node.input[i] = half
        nodes.append(node)
        for i, name in enumerate(node.output):
            half = node.output[i] = f'{name}_half'
            there.add(half)
            if name in read:
                nodes.append(_cast(half, name, TensorProto.FLOAT))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    used = read | _read(nodes)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _is_data(node, i):
    return i == 0 or node.op_type in _ONE_TYPE or (node.op_type == 'Pad' and i == 2)


def _cast(name, target, kind):
    return helper.make_node('Cast', [name], [target], name=f'{target}_from_{name}', to=kind)


def _read(nodes):
    """Names that nodes, and graphs within them, read."""
    found = set()
    for node in nodes:
        found.update(node.input)
        for attribute in node.attribute:
            found.update(_read(attribute.g.node))
            found.update(output.name for output in attribute.g.output)
    return found
