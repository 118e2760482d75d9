"""What detectors of mmdet3d share: heads that decode what a graph gives, inputs, comparison."""
import os.path as osp
from copy import deepcopy

from mmdeploy.utils import get_backend
from mmdet3d.structures import get_box_type
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

from . import boxes
from .tasks import Task, predict

#: largest difference of a number of the same box
DISTANCE = 1e-3


def build_head(model_cfg):
    """The head of a model's config alone, without weights, with the settings that it predicts by.

    mmdeploy builds it without its ``test_cfg`` (rotate NMS of a CenterHead then breaks), and once
    for each sample.

    Raises:
        NotImplementedError: the model has neither ``bbox_head`` nor ``pts_bbox_head``.
    """
    model = model_cfg.model
    for key, part in (('bbox_head', None), ('pts_bbox_head', 'pts')):
        if model.get(key) is not None:
            head = deepcopy(model[key])
            for name in ('train_cfg', 'test_cfg'):
                settings = model.get(name)
                settings = settings.get(part) if settings and part else settings
                if settings is not None:
                    head[name] = deepcopy(settings)
            with DefaultScope.overwrite_default_scope('mmdet3d'):
                return MODELS.build(head).eval()
    raise NotImplementedError(f'a {model.get("type")} has neither bbox_head nor pts_bbox_head: '
                              'its outputs cannot be decoded')


def split_tasks(head, maps):
    """What a CenterHead gives, from maps with the tasks one after the other.

    Args:
        head (nn.Module): mmdet3d's CenterHead.
        maps (dict): ``heatmap`` (B, classes of all tasks, Y, X), and each branch
            (B, tasks * its channels, Y, X).

    Returns:
        tuple[list[dict]]: as CenterHead.forward.
    """
    tasks = [{} for _ in head.num_classes]
    for name, value in maps.items():
        sizes = list(head.num_classes) if name == 'heatmap' else value.shape[1] // len(tasks)
        for task, part in zip(tasks, value.split(sizes, 1), strict=True):
            task[name] = part
    return tuple([task] for task in tasks)


def put_predictions(samples, found, flat=None):
    """The data samples with ``pred_instances_3d`` and ``pred_instances`` (2D; empty if None)."""
    flat = [InstanceData() for _ in samples] if flat is None else flat
    for sample, boxes_3d, boxes_2d in zip(samples, found, flat, strict=True):
        sample.pred_instances_3d, sample.pred_instances = boxes_3d, boxes_2d
    return samples


def run_pipeline(cfg, info):
    """What the test pipeline of a config gives of a sample's info."""
    dataset = cfg.test_dataloader.dataset
    box_type, box_mode = get_box_type(dataset.get('box_type_3d', 'LiDAR'))
    pipeline = [step for step in deepcopy(dataset.pipeline) if 'Annotations' not in step['type']]
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmdet3d'):
        return Compose(pipeline)(dict(info, box_type_3d=box_type, box_mode_3d=box_mode))


def find_picture(cfg, infos, name, camera):
    """Path of a camera's picture: beside the file of infos, or where the config's data set has it.

    Args:
        cfg (Config): With ``test_dataloader``.
        infos (str): The file of infos.
        name (str): Of the camera.
        camera (dict): Its info.
    """
    dataset = cfg.test_dataloader.dataset
    prefix = (dataset.get('data_prefix') or {}).get(name, '')
    places = osp.dirname(infos), osp.join(dataset.get('data_root') or '', prefix)
    found = [osp.join(place, camera['img_path']) for place in places]
    return next(filter(osp.isfile, found), found[0])


def read_batch(given, load, cfg, preprocessor):
    """A preprocessed batch of one sample.

    Args:
        given: What mmdeploy's ``create_input`` takes: what the test pipeline gives of a sample, or
            a file, or a list of one.
        load (callable): Reads a file: ``load(cfg, path)``.
        cfg (Config): The student's.
        preprocessor (nn.Module): The student's.
    """
    if not (isinstance(given, dict) and {'inputs', 'data_samples'} <= given.keys()):
        given = load(cfg, given[0] if isinstance(given, (list, tuple)) else given)
    return preprocessor(pseudo_collate([deepcopy(given)]), False)


def build_backend_model(cls, processor, files):
    """The exported model.

    Args:
        cls (type): Of mmdeploy's backend models.
        processor (BaseTask): mmdeploy's task processor.
        files (list[str]): What the backend runs.
    """
    preprocessor = deepcopy(processor.model_cfg.model.get('data_preprocessor') or {})
    preprocessor.setdefault('type', 'mmdet3d.Det3DDataPreprocessor')
    model = cls(backend=get_backend(processor.deploy_cfg), backend_files=files,
                device=processor.device, model_cfg=processor.model_cfg,
                deploy_cfg=processor.deploy_cfg, data_preprocessor=preprocessor)
    return model.to(processor.device).eval()


def name_outputs(deploy_cfg, outputs, inputs=None):
    """Write the names of this model's inputs and outputs into the deploy config, in place.

    How many there are depends on the model: on its levels, tasks and branches.
    """
    config = deploy_cfg['onnx_config' if 'onnx_config' in deploy_cfg else 'ir_config']
    config['output_names'] = list(outputs)
    if inputs is not None:
        config['input_names'] = list(inputs)


class Task3D(Task):
    """What the tasks of mmdet3d share: one shape, and boxes that are compared."""
    shapes = ('',)

    def source(self, data):
        return data

    def size_of(self, inputs):
        return None

    def compare(self, pytorch, exported, data):
        wanted, got = (boxes.Boxes.of_3d(predict(model, data).pred_instances_3d)
                       for model in (pytorch, exported.backend))
        return boxes.compare(wanted, got, boxes.distances_3d, DISTANCE)

    def checks(self, results):
        return boxes.checks(results, 'largest difference of a box', DISTANCE)
