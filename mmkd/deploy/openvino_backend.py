"""OpenVINO of today behind mmdeploy's name for it.

mmdeploy 1.3.1 converts with ``mo`` and runs with ``IECore``, which OpenVINO removed in 2025.0 and
2024.0. Here ``openvino.convert_model`` and ``openvino.Core`` do it, on the CPU. RoIs are cut out by
ONNX's RoiAlign, as for ONNX Runtime: with the operator of OpenVINO's own that mmdeploy exports,
scores of a Faster R-CNN were up to 1e-2 away.
"""
import functools
import importlib.util
import logging
import os
from importlib.metadata import version

import mmdeploy.backend.openvino  # noqa: F401  (registers the old ones, which these replace)
import torch
from mmdeploy.backend.base import BACKEND_MANAGERS, BACKEND_WRAPPER, BaseBackendManager, BaseWrapper
from mmdeploy.codebase.mmdet.models.roi_heads.single_level_roi_extractor import (
    single_roi_extractor__forward,
)
from mmdeploy.core import FUNCTION_REWRITER

from .export import quiet

NAME = 'openvino'


@functools.cache
def core():
    """The one ``openvino.Core`` of this process.

    A Core's CPU plugin gives the thread that first uses it a stack for signals of its own, and
    takes it away when the Core goes. When several go in the order they came, the last leaves the
    stack of one already gone (2026.4.1), and the next signal, such as the end of a data loader's
    worker, ends the process.
    """
    from openvino import Core
    return Core()


@BACKEND_WRAPPER.register_module(NAME, force=True)
class OpenVINOWrapper(BaseWrapper):
    """Runs a model of OpenVINO on the CPU, in float32 where the processor could do bfloat16.

    Args:
        xml (str): The model; its weights lie beside it.
        output_names (list of str, optional): In the order that is wanted; the model's if left out.
    """

    def __init__(self, xml, output_names=None):
        self._model = core().read_model(xml)
        super().__init__(list(output_names or [out.any_name for out in self._model.outputs]))
        self._compiled = self._compile()

    def _compile(self, **more):
        return core().compile_model(
            self._model, 'CPU', dict(INFERENCE_PRECISION_HINT='f32', **more))

    def use_threads(self, number):
        """Compute with so many threads; without this, all cores are used."""
        self._compiled = self._compile(INFERENCE_NUM_THREADS=number)

    def forward(self, inputs):
        """{name: Tensor} of the outputs for {name: Tensor} of the inputs.

        Raises:
            ValueError: An input has not the size that a static model takes.
        """
        for name, value in inputs.items():
            wanted = self._compiled.input(name).partial_shape
            if not wanted.compatible(_shape(value.shape)):
                raise ValueError(f'input {name!r} is {tuple(value.shape)}, and the model takes '
                                 f'{wanted} alone')
        got = self._compiled({name: value.detach().cpu().contiguous().numpy()
                              for name, value in inputs.items()})
        return {name: torch.from_numpy(got[name].copy()) for name in self._output_names}


def _shape(shape):
    from openvino import PartialShape
    return PartialShape(list(shape))


class OpenVINOManager(BaseBackendManager):
    """What mmdeploy asks of a backend, for OpenVINO."""

    @classmethod
    def is_available(cls, with_custom_ops=False):
        return importlib.util.find_spec(NAME) is not None

    @classmethod
    def get_version(cls):
        return version(NAME) if cls.is_available() else 'None'

    @classmethod
    def build_wrapper(cls, backend_files, device='cpu', input_names=None, output_names=None,
                      deploy_cfg=None, **kwargs):
        return OpenVINOWrapper(backend_files[0], output_names)

    @classmethod
    def to_backend(cls, ir_files, work_dir, deploy_cfg, log_level=logging.INFO, device='cpu',
                   **kwargs):
        """Convert ONNX files into ``work_dir``; returns the paths of the .xml files.

        Raises:
            ModuleNotFoundError: OpenVINO is not installed.
            ValueError: The model has an operator that OpenVINO lacks.
        """
        if not cls.is_available():
            raise ModuleNotFoundError("OpenVINO is not installed; `pip install -e "
                                      "'.[openvino]'` in mmkd's folder installs it", name=NAME)
        from openvino import convert_model, save_model
        files = []
        for path in ir_files:
            stem = os.path.splitext(os.path.basename(path))[0]
            try:
                model = convert_model(path)
            except Exception as error:
                raise ValueError(f'OpenVINO cannot convert {os.path.basename(path)}: '
                                 + str(error).strip().splitlines()[-1]) from error
            files.append(os.path.join(work_dir, f'{stem}.xml'))
            save_model(model, files[-1], compress_to_fp16=False)
        return files


with quiet():  # mmdeploy notes that the name had another
    BACKEND_MANAGERS.register(NAME)(OpenVINOManager)

# Under mmdeploy's second name of the method: of several for one name and backend, the first wins.
FUNCTION_REWRITER.register_rewriter('mmdet.models.roi_heads.SingleRoIExtractor.forward',
                                    backend=NAME)(single_roi_extractor__forward)
