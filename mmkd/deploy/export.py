"""From a model config, its weights and a deploy config to an ONNX file that runs.

mmdeploy changes the configs it is given: everything here passes copies.
"""
import contextlib
import copy
import glob
import logging
import os
import warnings
from unittest import mock

import onnx
import onnxruntime
from mmdeploy.apis import build_task_processor, torch2onnx
from mmdeploy.apis.utils import to_backend
from mmdeploy.backend.base import get_backend_manager
from mmdeploy.backend.onnxruntime.init_plugins import get_ops_path
from mmdeploy.utils import get_backend, get_ir_config, get_root_logger
from mmengine.config import Config

from ..utils.config_files import config_root
from ..utils.hints import did_you_mean
from . import compat  # noqa: F401  (mmdeploy needs it)

#: the folder in configs that holds the deploy configs
FOLDER = 'deploy'


def deploy_config_names():
    """The names of the deploy configs that come with mmkd."""
    return sorted(os.path.splitext(os.path.basename(path))[0]
                  for path in glob.glob(os.path.join(config_root(), FOLDER, '*.py')))


def read_deploy_config(name):
    """The Config of a deploy config.

    Args:
        name (str): A name of :func:`deploy_config_names`, or a path.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is no deploy config of an OpenMMLab library for ONNX.
    """
    known = deploy_config_names()
    path = os.path.join(config_root(), FOLDER, f'{name}.py') if name in known else name
    if not os.path.isfile(path):
        raise FileNotFoundError(f'there is no deploy config {name!r}{did_you_mean(name, known)}; '
                                f"mmkd has {', '.join(known)}, and a path is as good")
    cfg = Config.fromfile(path)
    missing = [key for key in ('codebase_config', 'backend_config') if key not in cfg]
    if missing or not ({'onnx_config', 'ir_config'} & set(cfg)):
        raise ValueError(f'{path!r} is no deploy config: it has no '
                         f"{missing[0] if missing else 'onnx_config'}")
    return cfg


def build_task(model_cfg, deploy_cfg):
    """mmdeploy's task processor of copies of both configs, on the CPU."""
    return build_task_processor(copy.deepcopy(model_cfg), copy.deepcopy(deploy_cfg), 'cpu')


def export_onnx(model_cfg, weights, deploy_cfg, sample, folder):
    """Write ``folder/<save_file of the deploy config>`` with mmdeploy's torch2onnx.

    Args:
        model_cfg (Config): Of the student alone, with ``model.data_preprocessor``.
        weights (str): A file with exactly the student's weights.
        deploy_cfg (Config): The deploy config.
        sample: What the task's ``create_input`` takes: an image file, a file of points, ...
        folder (str): An existing folder.

    Returns:
        str: Path of the ONNX file.
    """
    name = get_ir_config(deploy_cfg).save_file
    torch2onnx(sample, folder, name, copy.deepcopy(deploy_cfg), copy.deepcopy(model_cfg), weights,
               'cpu')
    return os.path.join(folder, name)


class Exported:
    """An exported model and what runs it.

    Args:
        model_cfg, deploy_cfg (Config): As for :func:`export_onnx`.
        onnx_file (str): The ONNX file.
        folder (str): An existing folder for what a backend makes of it.
        scratch (str, optional): A folder for files of no lasting use; ``folder`` if left out.

    Attributes:
        task: mmdeploy's task processor.
        backend_name (str): 'onnxruntime' or 'openvino'.
        files (list of str): What the backend runs.
        backend (nn.Module): mmdeploy's own backend model, in eval mode.
    """

    def __init__(self, model_cfg, deploy_cfg, onnx_file, folder, scratch=None):
        self.deploy_cfg, self.onnx_file = deploy_cfg, onnx_file
        self.scratch = scratch or folder
        self.task = build_task(model_cfg, deploy_cfg)
        self.backend_name = get_backend(deploy_cfg).value
        self.files = self._converted(onnx_file, folder)
        self.backend = self.task.build_backend_model(
            self.files, data_preprocessor_updater=self.task.update_data_preprocessor).eval()
        self._probes = {}

    def probe(self, change, output):
        """A wrapper (dict of inputs -> dict of outputs) of a changed copy of the file.

        Args:
            change (callable): Changes an ``onnx.GraphProto``, in place.
            output (str): Name of the output that it adds.
        """
        if output not in self._probes:
            model = onnx.load(self.onnx_file)
            change(model.graph)
            path = os.path.join(self.scratch, f'probe_{output}.onnx')
            onnx.save(model, path)
            names = get_ir_config(self.deploy_cfg)
            self._probes[output] = get_backend_manager(self.backend_name).build_wrapper(
                self._converted(path, self.scratch, output), 'cpu', names.input_names,
                [*names.output_names, output], self.deploy_cfg)
        return self._probes[output]

    @property
    def all_files(self):
        """Every file that has to be shipped."""
        beside = [os.path.splitext(file)[0] + '.bin' for file in self.files]  # OpenVINO's weights
        return [*self.files, *(file for file in beside if os.path.exists(file))]

    def use_threads(self, number):
        """Let the backend compute with so many threads; it takes all cores by itself."""
        wrapper = self.backend.wrapper
        if self.backend_name == 'openvino':
            wrapper.use_threads(number)
        if self.backend_name == 'onnxruntime':
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = number
            options.register_custom_ops_library(get_ops_path())
            wrapper.sess = onnxruntime.InferenceSession(
                self.files[0], options, providers=['CPUExecutionProvider'])
            wrapper.io_binding = wrapper.sess.io_binding()

    def _converted(self, onnx_file, folder, *more):
        """The backend's files of an ONNX file with ``more`` outputs."""
        if self.backend_name == 'onnxruntime':
            return [onnx_file]
        cfg = copy.deepcopy(self.deploy_cfg)
        get_ir_config(cfg).output_names.extend(more)
        return to_backend(self.backend_name, [onnx_file], folder, cfg, device='cpu')


@contextlib.contextmanager
def quiet():
    """mmdeploy's, mmengine's and the tracer's notes to their own developers left out."""
    logger = get_root_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), \
                mock.patch('mmengine.runner.checkpoint.print_log', lambda *args, **kwargs: None):
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
