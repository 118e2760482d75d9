"""Detectors of points in pillars (``VoxelNet``, ``MVXFasterRCNN``, ``CenterPoint``) for mmdeploy.

As in mmdeploy, the graph goes from voxels to the head's maps: ``voxels`` (V, P, C) the points of
each pillar, ``num_points`` (V,) how many there are, ``coors`` (V, 4) sample (0), z, y, x of its
cell; voxelization before it and decoding with NMS after it stay in Python. What mmkd adds: the
canvas of the pillars is made when the graph runs (it was stored in the file, 50 MB of zeros), a
batch is taken apart into samples (mmdeploy puts them all into one map), and the heads decode as in
PyTorch, with circle and rotate NMS.
"""
import torch
from mmdeploy.codebase.mmdet3d.deploy import voxel_detection, voxel_detection_model
from mmdeploy.codebase.mmdet3d.deploy.mmdet3d import MMDET3D_TASK
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import Task as MMDeployTask
from mmdet3d.models.middle_encoders import PointPillarsScatter

from .heads3d import (
    Task3D,
    build_backend_model,
    build_head,
    name_outputs,
    put_predictions,
    read_batch,
    run_pipeline,
    split_tasks,
)
from .onnx_zeros import zeros
from .tasks import register

#: outputs of each level: mmdeploy's names, with the level's number
MAPS = ('cls_score', 'bbox_pred', 'dir_cls_pred')
#: channels of a task of a CenterHead, in the order in which mmdeploy puts them into ``bbox_pred``
CENTER_BRANCHES = dict(reg=2, height=1, dim=3, vel=2)
SCATTER = 'mmdet3d.models.middle_encoders.pillar_scatter.PointPillarsScatter.forward_batch'


def scatter_pillars(self, voxel_features, coors, batch_size=1):
    """(V, C) features of pillars and (V, 4) their cells -> the map (1, C, Y, X) of one sample."""
    cells = (coors[:, 2] * self.nx + coors[:, 3]).long()
    canvas = zeros(voxel_features, (self.ny * self.nx, self.in_channels))
    canvas = canvas.index_put((cells,), voxel_features)
    return canvas.view(1, self.ny, self.nx, self.in_channels).permute(0, 3, 1, 2)


for _backend in Task3D.backends:
    FUNCTION_REWRITER.register_rewriter(SCATTER, backend=_backend)(scatter_pillars)


def output_names(model_cfg):
    """Names of the graph's outputs, in the order in which mmdeploy's rewriters return them."""
    head = build_head(model_cfg)
    if hasattr(head, 'task_heads'):
        return [f'{name}0' for name in MAPS]
    levels = range(len(getattr(head.prior_generator, 'scales', [1])))
    if 'pts_bbox_head' in model_cfg.model:
        return [f'{name}{level}' for level in levels for name in MAPS]
    return [f'{name}{level}' for name in MAPS for level in levels]


def center_maps(head, outputs):
    """The maps of :func:`~mmkd.deploy.heads3d.split_tasks` of mmdeploy's three outputs."""
    heads = head.task_heads[0].heads
    branches = {name: size for name, size in CENTER_BRANCHES.items() if name in heads}
    parts = outputs['bbox_pred0'].split(list(branches.values()) * len(head.num_classes), 1)
    maps = {name: torch.cat(parts[i::len(branches)], 1) for i, name in enumerate(branches)}
    return dict(maps, heatmap=outputs['cls_score0'], rot=outputs['dir_cls_pred0'])


def fill_shapes(deploy_cfg, model):
    """Write the inputs' shapes into a config for TensorRT that has none: up to as many pillars as
    the model makes of a sample."""
    layer = model.data_preprocessor.voxel_layer
    pillars = layer.max_voxels
    most = max(pillars) if isinstance(pillars, (list, tuple)) else pillars
    encoder = model.get('pts_voxel_encoder') or model.voxel_encoder
    rest = dict(voxels=[layer.max_num_points, encoder.in_channels], num_points=[], coors=[4])
    for inputs in deploy_cfg.backend_config.get('model_inputs', ()):
        for name, shapes in inputs.get('input_shapes', {}).items():
            for key, count in dict(min_shape=1, opt_shape=most // 2, max_shape=most).items():
                if shapes.get(key) is None:
                    shapes[key] = [count, *rest[name]]


class PillarDetectionModel(voxel_detection_model.VoxelDetectionModel):
    """mmdeploy's own, which decodes as PyTorch does, one sample of a batch after the other."""

    def __init__(self, *args, model_cfg, **kwargs):
        super().__init__(*args, model_cfg=model_cfg, **kwargs)
        self.head = build_head(model_cfg)

    def forward(self, inputs, data_samples=None, mode='predict', **kwargs):
        """Predict.

        Args:
            inputs (dict): ``voxels``: ``voxels``, ``num_points`` and ``coors`` of the batch.
            data_samples (list): Of the samples.
            mode (str): 'predict', or 'tensor' for what the graph gives for each sample.
        """
        found = [self.maps(inputs['voxels'], i) for i in range(len(data_samples))]
        if mode == 'tensor':
            return found
        boxes = [self.decode(maps, sample.metainfo)
                 for maps, sample in zip(found, data_samples, strict=True)]
        return put_predictions(data_samples, boxes)

    def maps(self, voxels, sample):
        """What the graph gives for one sample of a batch: name -> (1, C, Y, X)."""
        own = voxels['coors'][:, 0] == sample
        tensors = {name: voxels[name][own] for name in ('voxels', 'num_points', 'coors')}
        tensors['coors'][:, 0] = 0
        outputs = self.wrapper({name: tensor.to(self.device).contiguous()
                                for name, tensor in tensors.items()})
        return {name: outputs[name] for name in self.output_names}

    def decode(self, maps, meta):
        """``pred_instances_3d`` of one sample."""
        if hasattr(self.head, 'task_heads'):
            return self.head.predict_by_feat(
                split_tasks(self.head, center_maps(self.head, maps)), [meta])[0]
        levels = ([maps[name] for name in self.output_names if name.startswith(kind)]
                  for kind in MAPS)
        return self.head.predict_by_feat(*levels, batch_input_metas=[meta],
                                         cfg=self.head.test_cfg)[0]


@MMDET3D_TASK.register_module(MMDeployTask.VOXEL_DETECTION.value, force=True)
class PillarDetection(voxel_detection.VoxelDetection):
    """mmdeploy's own, which also takes a sample of a data set, and names the model's outputs."""

    def __init__(self, model_cfg, deploy_cfg, device):
        super().__init__(model_cfg, deploy_cfg, device)
        name_outputs(deploy_cfg, output_names(model_cfg))
        fill_shapes(deploy_cfg, model_cfg.model)

    def create_input(self, pcd, input_shape=None, data_preprocessor=None):
        """(batch, [voxels, num_points, coors]) of a file of points or a sample of a data set."""
        batch = read_batch(pcd, load, self.model_cfg, data_preprocessor)
        voxels = batch['inputs']['voxels']
        return batch, [voxels[name] for name in ('voxels', 'num_points', 'coors')]

    def build_backend_model(self, model_files=None, **kwargs):
        """The exported model."""
        return build_backend_model(PillarDetectionModel, self, model_files)


def load(cfg, path):
    """What the test pipeline gives of a file of points."""
    return run_pipeline(cfg, dict(lidar_points=dict(lidar_path=path), timestamp=1))


@register
class Voxels(Task3D):
    """What :class:`~mmkd.deploy.tasks.Task` asks for, for detectors of pillars."""
    name = 'voxel-detection'
    kinds = ('mmdet3d.VoxelNet', 'mmdet3d.MVXFasterRCNN', 'mmdet3d.CenterPoint')

    def obstacle(self, model):
        if getattr(model, 'img_backbone', None) is not None:
            return 'it reads images, too, and the graph has points alone'
        encoder = getattr(model, 'middle_encoder', getattr(model, 'pts_middle_encoder', None))
        if not isinstance(encoder, PointPillarsScatter):
            return (f'its middle encoder is {type(encoder).__name__}, and that of pillars, '
                    'PointPillarsScatter, is the only one; ONNX has no sparse convolutions')
        kind = getattr(model.data_preprocessor, 'voxel_type', 'hard')
        return None if kind == 'hard' else \
            f'its voxels are of type {kind!r}, and the graph takes those of a fixed size (hard)'

    def read(self, cfg, path):
        return load(cfg, path)
