"""mmdeploy's task of the camera detectors, and what runs their graphs: see :mod:`.camera_bev`."""
import os.path as osp

import mmengine
import torch
from aenum import extend_enum
from mmdeploy.codebase.base import BaseBackendModel, BaseTask
from mmdeploy.codebase.mmdet3d.deploy.mmdet3d import MMDET3D_TASK
from mmdeploy.utils import Task as MMDeployTask
from mmdeploy.utils import get_ir_config

from ..models.bev.fusion import BEVFusion
from .camera_bev import BRANCHES, graph_inputs
from .heads3d import (
    Task3D,
    build_backend_model,
    build_head,
    find_picture,
    name_outputs,
    put_predictions,
    read_batch,
    run_pipeline,
    split_tasks,
)
from .tasks import register

TASK = 'BEVDetection'

if TASK not in [task.value for task in MMDeployTask]:
    extend_enum(MMDeployTask, 'BEV_DETECTION', TASK)


class BEVDetectionModel(BaseBackendModel):
    """An exported BEVDet: batches of images and data samples -> predictions, as in PyTorch.

    Args:
        backend (Backend): mmdeploy's.
        backend_files (list[str]): E.g. the ONNX file.
        device (str): E.g. 'cpu'.
        model_cfg (Config): Of the student.
        deploy_cfg (Config): Deploy config.
        data_preprocessor (dict | nn.Module): The student's.
    """

    def __init__(self, backend, backend_files, device, model_cfg, deploy_cfg,
                 data_preprocessor=None):
        super().__init__(deploy_cfg=deploy_cfg, data_preprocessor=data_preprocessor)
        self.head = build_head(model_cfg)
        self.input_names = list(get_ir_config(deploy_cfg)['input_names'])
        self.wrapper = self._build_wrapper(backend, backend_files, device, self.input_names,
                                           self.output_names, deploy_cfg)

    def forward(self, inputs, data_samples=None, mode='predict', **kwargs):
        """Predict.

        Args:
            inputs (dict): ``imgs`` (B, N, 3, H, W), normalised.
            data_samples (list): With the cameras' matrices in their metainfo.
            mode (str): 'predict', or 'tensor' for what the graph gives: a dict of maps.
        """
        images = inputs['imgs']
        found = [self.maps(images[i:i + 1], [sample.metainfo])  # the graph takes one at a time
                 for i, sample in enumerate(data_samples)]
        if mode == 'tensor':
            return {name: torch.cat([maps[name] for maps in found]) for name in found[0]}
        boxes = [self.head.predict_by_feat(split_tasks(self.head, maps), [sample.metainfo])[0]
                 for maps, sample in zip(found, data_samples, strict=True)]
        return put_predictions(data_samples, boxes)

    def maps(self, images, metas):
        """What the graph gives for one sample: name -> (1, C, Y, X)."""
        tensors = graph_inputs(images, metas, 'camera_numbers' in self.input_names)
        outputs = self.wrapper({name: tensor.contiguous() for name, tensor in
                                zip(self.input_names, tensors, strict=True)})
        return {name: outputs[name] for name in self.output_names}


@MMDET3D_TASK.register_module(TASK)
class BEVDetection(BaseTask):
    """mmdeploy's task for ``mmkd.BEVDet`` and ``mmkd.BEVDet4D``."""

    def __init__(self, model_cfg, deploy_cfg, device):
        super().__init__(model_cfg, deploy_cfg, device)
        head = model_cfg.model.pts_bbox_head
        self.with_numbers = model_cfg.model.img_view_transformer.get('depth_net') is not None
        name_outputs(
            deploy_cfg,
            [name for name in BRANCHES if name == 'heatmap' or name in head.common_heads],
            ['imgs', 'img2lidar'] + ['camera_numbers'] * self.with_numbers)

    def build_backend_model(self, model_files=None, **kwargs):
        """The exported model."""
        return build_backend_model(BEVDetectionModel, self, model_files)

    def create_input(self, imgs, input_shape=None, data_preprocessor=None):
        """(batch, tensors of the graph) of a sample.

        Args:
            imgs: A file of infos (.pkl), see :func:`load`; or what the test pipeline gives of a
                sample.
            input_shape: Not used: the pipeline decides.
            data_preprocessor (nn.Module): The student's.
        """
        batch = read_batch(imgs, load, self.model_cfg, data_preprocessor)
        metas = [sample.metainfo for sample in batch['data_samples']]
        return batch, graph_inputs(batch['inputs']['imgs'], metas, self.with_numbers)

    def visualize(self, *args, **kwargs):
        """Not here: tools/draw_bev.py draws scenes.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError('mmkd draws scenes with tools/draw_bev.py')

    def get_model_name(self, *args, **kwargs):
        """mmdeploy's SDK has no 3D.

        Raises:
            NotImplementedError: always, as in mmdeploy's own tasks of mmdet3d.
        """
        raise NotImplementedError("mmdeploy's SDK does not run 3D detectors")

    get_preprocess = get_postprocess = get_model_name
    get_partition_cfg = staticmethod(get_model_name)


def load(cfg, path):
    """What the test pipeline gives of the first sample of a file of infos of mmdet3d (.pkl).

    Its pictures lie beside the file, or where the config's data set has them.
    """
    info = mmengine.load(path)['data_list'][0]
    for name, camera in info['images'].items():
        camera['img_path'] = find_picture(cfg, path, name, camera)
    points = info.get('lidar_points')
    if points and points.get('lidar_path'):
        points['lidar_path'] = osp.join(osp.dirname(path), points['lidar_path'])
    return run_pipeline(cfg, info)


@register
class BEV(Task3D):
    """What :class:`~mmkd.deploy.tasks.Task` asks for, for camera detectors."""
    name = 'bev-detection'
    kinds = ('mmkd.BEVDet',)
    backends = ('onnxruntime', 'openvino')  # TensorRT has no float64, in which the pooling adds up

    def obstacle(self, model):
        if isinstance(model, BEVFusion):
            return 'it reads points, too, and the graph has images alone; export a camera student'
        return None

    def read(self, cfg, path):
        return load(cfg, path)

    def size_of(self, inputs):
        return tuple(inputs['imgs'].shape[-2:])
