"""The metric of both models: the same draws, and evaluators that fail or want the whole set."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS
from mmengine.structures import BaseDataElement

from mmkd.deploy.metrics import evaluate, needs_all, seeded
from mmkd.deploy.tasks import count_flops


@DATASETS.register_module()
class Drawn(torch.utils.data.Dataset):
    """A pipeline with chance in it, as mmdet3d's choice of sweeps."""
    metainfo = {}

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return dict(inputs=torch.tensor(np.random.rand()), data_samples=BaseDataElement())


@METRICS.register_module()
class Broken(BaseMetric):
    """An evaluator that fails as nuScenes' does where there is no box."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        raise RuntimeError('Invalid box type: None')


class Predicts(BaseModel):
    """A model that predicts nothing."""

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return data_samples


def config(**evaluator):
    return Config(dict(default_scope='mmengine', val_dataloader=dict(dataset=dict(type='Drawn')),
                       val_evaluator=evaluator))


def test_both_models_are_evaluated_on_the_same_draws():
    drawn = torch.utils.data.DataLoader(Drawn(), collate_fn=lambda batch: batch[0]['inputs'])
    first, second = (torch.stack(list(seeded(drawn))) for _ in range(2))
    assert torch.equal(first, second) and len(set(first.tolist())) == 5


def test_an_evaluator_that_fails_says_what_to_do():
    with pytest.raises(ValueError, match="evaluator failed on Predicts.*Invalid box.*--no-metric"):
        evaluate(Predicts(), config(type='Broken'))


def test_flops_are_multiplications_of_a_prediction():
    class Two(Predicts):
        def __init__(self):
            super().__init__()
            self.conv, self.linear = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Linear(8, 5)

        def forward(self, inputs, data_samples=None, mode='tensor'):
            return self.linear(self.conv(torch.stack(inputs)))

    data = dict(inputs=torch.zeros(3, 6, 8), data_samples=BaseDataElement())
    assert count_flops(Two(), data) == 4 * 27 * 48 + 4 * 6 * 8 * 5


def test_nuscenes_takes_the_whole_set():
    assert needs_all(config(type='NuScenesMetric'))
    assert needs_all(config(type='mmdet3d.NuScenesMetric'))
    assert not needs_all(config(type='CocoMetric'))
    assert needs_all(Config(dict(val_dataloader=dict(batch_size=1), val_evaluator=[
        dict(type='CocoMetric'), dict(type='NuScenesMetric')])))
