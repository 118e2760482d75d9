"""Which nodes of an ONNX file are the network: the layers with weights and what lies between them.

Smaller forms change the precision of these alone. Decoding of boxes, TopK, NMS and everything else
behind the last layer stays in float32, and so do the inputs and outputs.
"""
import onnx

#: layers with weights
LAYERS = ('Conv', 'ConvTranspose', 'Gemm', 'MatMul')
#: what lies between layers and has one map as its data
_ONE_MAP = ('Relu', 'LeakyRelu', 'PRelu', 'Clip', 'Sigmoid', 'HardSigmoid', 'HardSwish', 'Tanh',
            'MaxPool', 'AveragePool', 'GlobalAveragePool', 'GlobalMaxPool', 'ReduceMean', 'Resize',
            'Pad', 'Reshape', 'Transpose', 'Flatten', 'Squeeze', 'Unsqueeze', 'Slice', 'Split',
            'RoiAlign', 'BatchNormalization', 'InstanceNormalization', 'LayerNormalization')
#: what lies between layers and joins several
JOINS = ('Add', 'Sub', 'Mul', 'Div', 'Concat', 'Sum')


class Network:
    """The part of a graph that computes with weights.

    Args:
        graph (onnx.GraphProto): Its nodes get names where they have none.

    Attributes:
        inside (set of str): Nodes with weights, and those between two of them.
        last (set of str): Those of ``inside`` that no other node with weights follows.
    """

    def __init__(self, graph):
        for i, node in enumerate(graph.node):
            node.name = node.name or f'{node.op_type}_{i}'
        self._constants = {tensor.name for tensor in graph.initializer}
        self._constants |= {node.output[0] for node in graph.node if node.op_type == 'Constant'}
        self._makers = {name: node for node in graph.node for name in node.output}
        layers = [node for node in graph.node if self._has_weights(node)]
        followed, between = set(), set()
        for layer in layers:
            self._walk(layer, followed, between)
        names = {layer.name for layer in layers}
        self.inside = names | between
        self.last = names - followed

    def _has_weights(self, node):
        return node.op_type in LAYERS and node.input[1] in self._constants

    def _walk(self, layer, followed, between):
        """Go from a layer's data up to the layers that it comes from."""
        names, path, sources = [layer.input[0]], set(), set()
        while names:
            node = self._makers.get(names.pop())
            if node is None or node.name in path:
                continue
            if self._has_weights(node):
                sources.add(node.name)
            elif node.op_type in _ONE_MAP:
                path.add(node.name)
                names.append(node.input[0])
            elif node.op_type in JOINS:
                path.add(node.name)
                names.extend(node.input)
        followed |= sources
        if sources:
            between |= path


def save(model, target):
    """Write a model that asks for no operators but those it has: an older ONNX Runtime refuses
    versions that it does not know, used or not."""
    used = {node.domain for node in model.graph.node}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.save(model, target)
