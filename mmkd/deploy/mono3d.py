"""Detectors of single images in 3D (FCOS3D, PGD) for mmdeploy, which knows SMOKE alone.

The graph goes from ``input`` (1, 3, H, W), the normalised and padded image, to the head's maps, one
output for each branch and level: ``cls_score0``, ``bbox_pred0``, ... Decoding, which needs the
camera's matrix, and NMS stay in Python.
"""
import mmengine
from mmdeploy.codebase.mmdet3d.deploy import mono_detection, mono_detection_model
from mmdeploy.codebase.mmdet3d.deploy.mmdet3d import MMDET3D_TASK
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import Task as MMDeployTask

from .heads3d import (
    Task3D,
    build_backend_model,
    build_head,
    find_picture,
    name_outputs,
    put_predictions,
    read_batch,
    run_pipeline,
)
from .tasks import register

FCOS3D = ('cls_score', 'bbox_pred', 'dir_cls_pred', 'attr_pred', 'centerness')
PGD = ('cls_score', 'bbox_pred', 'dir_cls_pred', 'depth_cls_pred', 'weight', 'attr_pred',
       'centerness')
#: what a head gives for each level, in its order
BRANCHES = dict(FCOSMono3DHead=FCOS3D, PGDHead=PGD, SMOKEMono3DHead=('cls_score', 'bbox_pred'))


def branches_of(head):
    """{branch: is it there?} of a head of :data:`BRANCHES`.

    Raises:
        NotImplementedError: another head.
    """
    names = BRANCHES.get(type(head).__name__)
    if names is None:
        raise NotImplementedError(f'no export is known of a {type(head).__name__}; there is one of '
                                  f"{', '.join(BRANCHES)}")
    absent = dict(dir_cls_pred=not getattr(head, 'use_direction_classifier', True),
                  attr_pred=not getattr(head, 'pred_attrs', True),
                  depth_cls_pred=not getattr(head, 'use_depth_classifier', True),
                  weight=getattr(head, 'weight_dim', 0) == -1)
    return {name: not absent.get(name, False) for name in names}


def levels_of(head):
    """How many maps each branch has."""
    return len(getattr(head, 'strides', None) or [1])


def output_names(head):
    """Names of the graph's outputs."""
    return [f'{branch}{level}' for branch, there in branches_of(head).items() if there
            for level in range(levels_of(head))]


def mono3d__forward(self, inputs, **kwargs):
    """The image (1, 3, H, W) -> the maps of :func:`output_names`."""
    maps = self.bbox_head(self.extract_feat(dict(imgs=inputs)))
    there = branches_of(self.bbox_head).values()
    return tuple(level for branch, kept in zip(maps, there, strict=True) if kept
                 for level in branch)


for _backend in Task3D.backends:
    FUNCTION_REWRITER.register_rewriter(
        'mmdet3d.models.detectors.single_stage_mono3d.SingleStageMono3DDetector.forward',
        backend=_backend)(mono3d__forward)


class MonoModel(mono_detection_model.MonoDetectionModel):
    """mmdeploy's own, which decodes all branches as PyTorch does."""

    def __init__(self, *args, model_cfg, **kwargs):
        super().__init__(*args, model_cfg=model_cfg, **kwargs)
        self.head = build_head(model_cfg)

    def forward(self, inputs, data_samples=None, mode='predict', **kwargs):
        """Predict.

        Args:
            inputs (dict): ``imgs`` (B, 3, H, W), normalised and padded.
            data_samples (list): With ``cam2img`` in their metainfo.
            mode (str): 'predict', or 'tensor' for what the graph gives for each image.
        """
        images = inputs['imgs']
        found = [self.wrapper({self.input_name: images[i:i + 1].to(self.device).contiguous()})
                 for i in range(len(images))]
        if mode == 'tensor':
            return found
        decoded = [self.decode(maps, sample.metainfo)
                   for maps, sample in zip(found, data_samples, strict=True)]
        return put_predictions(data_samples, *map(list, zip(*decoded, strict=True)))

    def decode(self, maps, meta):
        """(``pred_instances_3d``, ``pred_instances``) of one image."""
        levels = range(levels_of(self.head))
        branches = [[maps[f'{name}{i}'] if there else None for i in levels]
                    for name, there in branches_of(self.head).items()]
        found, flat = self.head.predict_by_feat(*branches, batch_img_metas=[meta], rescale=True)
        return found[0], (flat or [mono_detection_model.InstanceData()])[0]


@MMDET3D_TASK.register_module(MMDeployTask.MONO_DETECTION.value, force=True)
class MonoDetection(mono_detection.MonoDetection):
    """mmdeploy's own, which also takes a sample of a data set, and names the model's outputs."""

    def __init__(self, model_cfg, deploy_cfg, device):
        super().__init__(model_cfg, deploy_cfg, device)
        name_outputs(deploy_cfg, output_names(build_head(model_cfg)))

    def create_input(self, pcd, input_shape=None, data_preprocessor=None):
        """(batch, image) of a file of infos, see :func:`load`, or a sample of a data set."""
        batch = read_batch(pcd, load, self.model_cfg, data_preprocessor)
        return batch, batch['inputs']['imgs']

    def build_backend_model(self, model_files=None, **kwargs):
        """The exported model."""
        return build_backend_model(MonoModel, self, model_files)


def load(cfg, path):
    """What the test pipeline gives of the first sample of a file of infos of mmdet3d (.pkl).

    Of its front camera (CAM_FRONT, CAM2), or of the first one; its picture lies beside the file, or
    where the config's data set has it.
    """
    images = mmengine.load(path)['data_list'][0]['images']
    name = next((name for name in ('CAM_FRONT', 'CAM2') if name in images), next(iter(images)))
    camera = dict(images[name], img_path=find_picture(cfg, path, name, images[name]))
    return run_pipeline(cfg, dict(images={name: camera}))


@register
class Mono3D(Task3D):
    """What :class:`~mmkd.deploy.tasks.Task` asks for, for FCOS3D, PGD and SMOKE."""
    name = 'mono-detection'
    kinds = ('mmdet3d.SingleStageMono3DDetector',)

    def obstacle(self, model):
        head = type(model.bbox_head).__name__
        return None if head in BRANCHES else \
            f"its head is {head}, and an export is known of {', '.join(BRANCHES)}"

    def read(self, cfg, path):
        return load(cfg, path)

    def size_of(self, inputs):
        return tuple(inputs['imgs'].shape[-2:])
