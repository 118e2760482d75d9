"""What the distiller's tests share."""
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS as ROOT_MODELS
from mmseg.models import BaseSegmentor
from torch import nn

from mmkd.registry import MODELS
from tests.helpers import make_batch, preprocessor, terms_of, tiny_distiller, tiny_segmentor

RECIPES = ['kd', 'cwd', 'mgd', 'fitnet', 'at', 'attnfd', 'cirkd']
SILENT = dict(type='stop', end=0)


def small(recipe):
    """A recipe with memory banks that fit a test."""
    terms = terms_of(recipe)
    if recipe == 'cirkd':
        terms['memory']['loss'].update(pixel_memory_size=40, region_memory_size=20,
                                       pixel_contrast_size=32, region_contrast_size=16)
    return terms


def student_for(recipe):
    """AttnFD taps a context module, which an FCN head has not."""
    return tiny_segmentor('PSPHead' if recipe == 'attnfd' else 'FCNHead')


def build_quiet(cfg, seed=0):
    torch.manual_seed(seed)
    return ROOT_MODELS.build(cfg)


def train_steps(model, steps=2, lr=0.05):
    """Train; return the logs."""
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(
        type='SGD', lr=lr, momentum=0.9, weight_decay=1e-4)))
    model.train()
    return [model.train_step(make_batch(seed=i), wrapper) for i in range(steps)]


@MODELS.register_module()
class OwnTensors(BaseSegmentor):
    """A segmentor with a parameter, a buffer and a BN directly on itself."""

    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer('steps', torch.zeros(1))
        self.register_buffer('scratch', torch.zeros(1), persistent=False)
        self.norm, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3, padding=1)
        self.out_channels = self.num_classes = 4

    def extract_feat(self, inputs):
        return self.conv(self.norm(inputs))

    def encode_decode(self, inputs, metas):
        return self.extract_feat(inputs)

    def _forward(self, inputs, data_samples=None):
        return self.extract_feat(inputs) * self.scale

    def loss(self, inputs, data_samples):
        if self.training:
            self.steps += 1
        return dict(loss_own=self._forward(inputs).square().mean())

    def predict(self, inputs, data_samples=None):
        return self._forward(inputs)


def own_tensors(student=None):
    terms = dict(map=dict(student_tap='conv', teacher_tap='logits',
                          loss=dict(type='mmkd.KDLoss')))
    return build_quiet(tiny_distiller(
        terms, student or dict(type='mmkd.OwnTensors', data_preprocessor=preprocessor())))
