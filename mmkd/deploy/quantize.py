"""Students in 8 bits, made of the float32 ONNX file by ONNX Runtime's static quantization."""
import copy
import os
import tempfile

import onnx
from mmengine.registry import DATASETS, DefaultScope
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from .network import Network, save
from .tasks import predict

#: domains whose operators ONNX Runtime has itself
_BUILT_IN = ('', 'ai.onnx', 'com.microsoft')


def check_operators(onnx_file):
    """Refuse a file that cannot be quantized to 8 bits.

    Raises:
        ValueError: It has operators that ONNX Runtime lacks.
    """
    foreign = sorted({f'{node.domain}::{node.op_type}' for node in onnx.load(onnx_file).graph.node
                      if node.domain not in _BUILT_IN})
    if foreign:
        raise ValueError(f"int8 is not possible: the model uses {', '.join(foreign)}, which ONNX "
                         "Runtime's quantization cannot run; fp16 is possible")


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
        ValueError: :func:`check_operators` refuses it, it has no layer to quantize, or there are
            no inputs.
    """
    check_operators(onnx_file)
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
    save(onnx.load(target), target)


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
