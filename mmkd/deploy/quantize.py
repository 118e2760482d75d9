"""Students in 8 bits and in half precision, made of the float32 ONNX file by ONNX Runtime's tools.

What changes precision is the network alone: the layers with weights and what lies between them.
Decoding of boxes, TopK, NMS and everything else behind the last layer stays in float32, and so do
the inputs and outputs.
"""
import copy
import os
import tempfile

import onnx
from mmengine.registry import DATASETS, DefaultScope
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from .tasks import predict

#: layers with weights
LAYERS = ('Conv', 'ConvTranspose', 'Gemm', 'MatMul')
#: what lies between layers and has one map as its data
_ONE_MAP = ('Relu', 'LeakyRelu', 'PRelu', 'Clip', 'Sigmoid', 'HardSigmoid', 'HardSwish', 'Tanh',
            'MaxPool', 'AveragePool', 'GlobalAveragePool', 'GlobalMaxPool', 'ReduceMean', 'Resize',
            'Pad', 'Reshape', 'Transpose', 'Flatten', 'Squeeze', 'Unsqueeze', 'Slice', 'Split',
            'RoiAlign', 'BatchNormalization', 'InstanceNormalization', 'LayerNormalization')
#: what lies between layers and joins several
_JOINS = ('Add', 'Sub', 'Mul', 'Div', 'Concat', 'Sum')
#: domains whose operators ONNX Runtime has itself
_BUILT_IN = ('', 'ai.onnx', 'com.microsoft')


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
            elif node.op_type in _JOINS:
                path.add(node.name)
                names.extend(node.input)
        followed |= sources
        if sources:
            between |= path


def to_int8(onnx_file, target, inputs):
    """Write the 8 bit form of an ONNX file: QDQ, weights per channel, by static quantization.

    The last layers (classifiers, regressors) keep float32: their outputs are compared with each
    other, and 8 bits would make ties of them.

    Args:
        onnx_file (str): The float32 file.
        target (str): The file to write.
        inputs (iterable of dict): Inputs of the file by name, as NumPy arrays, to find the ranges
            of activations with.

    Raises:
        ValueError: The file has operators that ONNX Runtime lacks, no layer to quantize, or there
            are no inputs.
    """
    model = onnx.load(onnx_file)
    foreign = sorted({f'{node.domain}::{node.op_type}' for node in model.graph.node
                      if node.domain not in _BUILT_IN})
    if foreign:
        raise ValueError(f"int8 is not possible: the model uses {', '.join(foreign)}, which ONNX "
                         "Runtime's quantization cannot run; fp16 is possible")
    with tempfile.TemporaryDirectory() as folder:
        ready = os.path.join(folder, 'ready.onnx')
        # Symbolic shape inference gives up on NMS; ONNX's own does not.
        quant_pre_process(onnx_file, ready, skip_symbolic_shape=True)
        model = onnx.load(ready)
        network = Network(model.graph)
        chosen = network.inside - network.last
        if not chosen:
            raise ValueError('int8 is not possible: the model has no layers that follow each other')
        quantize_static(
            model, target, _Reader(inputs), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            nodes_to_quantize=sorted(chosen))
    _save(onnx.load(target), target)


def to_fp16(onnx_file, target):
    """Write the half precision form of an ONNX file; its inputs and outputs stay float32.

    Args:
        onnx_file (str): The float32 file.
        target (str): The file to write.
    """
    model = onnx.load(onnx_file)
    network = Network(model.graph)
    outside = [node.name for node in model.graph.node if node.name not in network.inside]
    half = OnnxModel(convert_float_to_float16(
        model, keep_io_types=True, node_block_list=outside, op_block_list=DEFAULT_OP_BLOCK_LIST))
    # The converter adds the same cast once for each node that reads it, and all at the end.
    nodes = {tuple(node.output): node for node in half.model.graph.node}
    del half.model.graph.node[:]
    half.model.graph.node.extend(nodes.values())
    half.topological_sort()
    _save(half.model, target)


def _save(model, target):
    """Write a model that asks for no operators but those it has: an older ONNX Runtime refuses
    versions that it does not know, used or not."""
    used = {node.domain for node in model.graph.node}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.save(model, target)


class _Reader(CalibrationDataReader):
    """An iterable as ONNX Runtime reads it.

    Raises:
        ValueError: It is empty.
    """

    def __init__(self, inputs):
        self._inputs, self._empty = iter(inputs), True

    def get_next(self):
        got = next(self._inputs, None)
        if got is None and self._empty:
            raise ValueError('int8 needs samples to calibrate with, and there are none')
        self._empty = False
        return got


def training_set(cfg):
    """The training set, read by the pipeline that the model is tested with.

    Args:
        cfg (Config): The student's, with ``test_pipeline``.

    Raises:
        ValueError: It has no training set.
    """
    loader = cfg.get('train_dataloader')
    if not loader:
        raise ValueError('int8 is calibrated with the training set, and the config has no '
                         'train_dataloader')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        return DATASETS.build(_read_by(cfg.test_pipeline, loader.dataset))


def _read_by(pipeline, dataset):
    """A data set's config with another pipeline, without wrappers that repeat, balance or mix."""
    dataset = copy.deepcopy(dataset)
    if 'dataset' in dataset:
        return _read_by(pipeline, dataset.dataset)
    if 'datasets' in dataset:
        dataset.pop('pipeline', None)
        dataset.datasets = [_read_by(pipeline, part) for part in dataset.datasets]
        return dataset
    dataset.update(pipeline=copy.deepcopy(pipeline), test_mode=True)
    return dataset


def calibration_inputs(exported, cfg, samples):
    """Inputs of an exported float32 model for samples spread over the training set.

    They are what mmdeploy's backend model gives its file when it predicts the sample: preprocessed
    by the model's own data_preprocessor.

    Args:
        exported (Exported): The float32 model.
        cfg (Config): The student's.
        samples (int): How many; all if there are fewer.

    Yields:
        dict: name -> NumPy array.

    Raises:
        ValueError: There is no training set, or ``samples`` is below 1.
    """
    if samples < 1:
        raise ValueError(f'int8 needs at least one sample to calibrate with, not {samples}')
    dataset = training_set(cfg)
    samples = min(samples, len(dataset))
    for i in range(samples):
        yield fed(exported.backend, dataset[i * len(dataset) // samples])


class _Fed(Exception):
    """Carries what a file was about to be given."""


def fed(backend, data):
    """What a backend model gives its file (name -> NumPy array) for a sample of a data set."""
    def stop(module, args):
        raise _Fed({name: value.cpu().numpy() for name, value in args[0].items()})
    hook = backend.wrapper.register_forward_pre_hook(stop)
    try:
        predict(backend, data)
    except _Fed as caught:
        return caught.args[0]
    finally:
        hook.remove()
    raise TypeError(f'{type(backend).__name__} does not run its file through its wrapper')
