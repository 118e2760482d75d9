"""Detectors of random weights, exported: shared by the tests of mmkd.deploy."""
import copy

import torch
from mmengine.dataset import pseudo_collate

from mmkd.deploy.export import Exported, export_onnx, read_deploy_config
from mmkd.deploy.tasks import TASKS, task_for
from tests.deploy.random_weights import spread
from tests.helpers import build


class DetectorPair:
    """A detector whose scores spread, exported into ``folder``, beside PyTorch's.

    Args:
        cfg (Config): Of the model.
        task (str): Name of mmkd's task, which must be the model's.
        folder (Path): For the files.
        items (list of dict): What the test pipeline gives of samples; the first one is exported
            with, those that come after are others.
        finals (list of str): The classifiers' last layers.
        ending (str): Of the deploy config's name.
        size (tuple, optional): (width, height) of a static export.
        bias (float): Mean logit of the classifiers.
    """

    def __init__(self, cfg, task, folder, items, finals, ending='_onnxruntime', size=None,
                 bias=-3.):
        model = build(cfg.model)
        self.task = task_for(model)
        assert self.task is TASKS[task]
        batch = model.data_preprocessor(pseudo_collate(copy.deepcopy(items[:1])), False)
        layers = dict(model.named_modules())
        self.pytorch = spread(model, batch, [layers[name] for name in finals], bias)
        weights = str(folder / 'weights.pth')
        torch.save(dict(state_dict=model.state_dict()), weights)
        deploy_cfg = read_deploy_config(task + ending)
        if size is not None:
            deploy_cfg.onnx_config.input_shape = list(size)
        self.path = export_onnx(cfg, weights, deploy_cfg, self.task.source(items[0]), str(folder))
        self.exported = Exported(cfg, deploy_cfg, self.path, str(folder))
        self.results = [self.task.compare(self.pytorch, self.exported, item) for item in items]

    def assert_same(self, least=20):
        """All boxes above the threshold are matched, of which there are enough in each sample."""
        checks = self.task.checks(self.results)
        assert all(check.ok for check in checks), [str(check) for check in checks]
        for result in self.results:
            assert result['matched'] == result['boxes'] >= least, result
