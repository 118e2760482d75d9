"""What a deployment task is: which models it exports, how their inputs are read, what is compared.

A module per task adds one with :func:`register`; mmkd.deploy imports them all.
"""
import copy
from typing import NamedTuple

import torch
from mmdeploy.utils import get_input_shape
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch.utils.flop_counter import FlopCounterMode

#: name -> Task
TASKS = {}


class Check(NamedTuple):
    """One number of the comparison of PyTorch's model with the exported one.

    Attributes:
        name (str): What it is, as the report says it.
        value (float): The number.
        limit (float): What it may reach.
        at_least (bool): The limit is the least, not the most, that is accepted.
    """
    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def ok(self):
        """Is it within the limit? (NaN is not.)"""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self):
        sign = '>=' if self.at_least else '<='
        return f'{self.name}: {self.value:.6g} (limit: {sign} {self.limit:g})'


class Task:
    """A deployment task.

    Attributes:
        name (str): Begins the names of its deploy configs: ``<name>_<backend>-<static|dynamic>``.
        kinds (tuple of str): Models that it exports, as ``library.Class``, with their subclasses.
        backends (tuple of str): mmdeploy's names of those that run its graphs.
        shapes (tuple of str): The endings of its deploy configs, the default first; ``('',)`` where
            there is one shape only.
    """
    name = ''
    kinds = ()
    backends = ('onnxruntime', 'openvino', 'tensorrt')
    shapes = ('static', 'dynamic')

    def fits(self, model):
        """Is this model (an nn.Module) of the task's kinds?"""
        return not names_of(model).isdisjoint(self.kinds)

    def obstacle(self, model):
        """Why a model of the task's kinds cannot be exported, or None if it can."""

    def adapt(self, cfg, deploy_cfg):
        """Change ``cfg`` so that its pipelines give what a static export takes."""

    def source(self, data):
        """What mmdeploy's ``create_input`` takes, for one sample of the data set."""
        return data['data_samples'].img_path

    def read(self, cfg, path):
        """The sample (as the data set would give it) of an input file of the user's."""
        pipeline = [step for step in copy.deepcopy(cfg.test_pipeline)
                    if 'Annotations' not in str(step['type'])]
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            return Compose(pipeline)(dict(img_path=path, img_id=0))

    def cropped(self, data):
        """A copy of a sample of another size, on which a dynamic export is compared, too."""
        data = copy.deepcopy(data)
        height, width = (max(3 * length // 4, 1) for length in data['inputs'].shape[-2:])
        data['inputs'] = data['inputs'][..., :height, :width].contiguous()
        data['data_samples'].set_metainfo(dict(img_shape=(height, width), ori_shape=(height, width),
                                               pad_shape=(height, width)))
        return data

    def size_of(self, inputs):
        """(height, width) of preprocessed inputs; None where they are no images."""
        return tuple(inputs.shape[-2:])

    def shape(self, pytorch, data):
        """(height, width) of the network's input for a sample; None where it is no image."""
        return self.size_of(inputs_of(pytorch, data)['inputs'])

    def compare(self, pytorch, exported, data):
        """The numbers of one sample, by name.

        Args:
            pytorch (nn.Module): The model, in eval mode, without gradients.
            exported (Exported): The exported one.
            data (dict): A sample of the data set; must stay as it is.
        """
        raise NotImplementedError

    def checks(self, results):
        """The :class:`Check`\\ s of all samples' numbers (a list of what :meth:`compare` gave)."""
        raise NotImplementedError


def fix_pictures(cfg, deploy_cfg, process_model_config, resizes):
    """Let the test pipelines of ``cfg`` resize to the size of a static export, if it is one.

    Args:
        cfg (Config): The student's; changed in place.
        deploy_cfg (Config): With the size.
        process_model_config (callable): mmdeploy's, of the student's library.
        resizes (callable): Does a transform of this type (a str) resize pictures?
    """
    shape = get_input_shape(deploy_cfg)
    if shape is None:
        return
    cfg.test_pipeline = process_model_config(cfg, [''], shape).test_pipeline
    for loader in ('val_dataloader', 'test_dataloader'):
        # mmdeploy's way, and the annotations that evaluation needs.
        for step in cfg[loader].dataset.pipeline if cfg.get(loader) else ():
            if resizes(str(step['type'])):
                step.update(scale=tuple(shape), keep_ratio=False)


def register(cls):
    """Add a task."""
    TASKS[cls.name] = cls()
    return cls


def names_of(model):
    """{'library.Class'} of a model's class and those that it inherits from."""
    return {f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(model).__mro__}


def task_for(model):
    """The task that exports a model.

    Raises:
        ValueError: None does.
    """
    obstacles = []
    for task in TASKS.values():
        if task.fits(model):
            obstacles.append(task.obstacle(model))
            if obstacles[-1] is None:
                return task
    name = f'{type(model).__module__}.{type(model).__name__}'
    if obstacles:
        raise ValueError(f'{name} cannot be exported: {obstacles[0]}')
    kinds = [kind for task in TASKS.values() for kind in task.kinds]
    raise ValueError(f'{name} is of no family that can be exported; those that can be: '
                     f"{', '.join(kinds)}, and their subclasses")


def inputs_of(model, data):
    """A batch of the one sample as ``model`` gets it in evaluation, preprocessed; a copy."""
    return model.data_preprocessor(pseudo_collate([copy.deepcopy(data)]), False)


def count_flops(model, data):
    """Multiplications, with their additions, of the convolutions and matrix products in PyTorch's
    prediction of one sample; those of deformable convolutions are not counted."""
    with FlopCounterMode(display=False) as counter:
        predict(model, data)
    return counter.get_total_flops() // 2


def predict(model, data):
    """The prediction (a data sample) of a model, PyTorch's or mmdeploy's, for one sample."""
    with torch.no_grad():
        return model.test_step(pseudo_collate([copy.deepcopy(data)]))[0]
