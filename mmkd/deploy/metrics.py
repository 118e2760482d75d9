"""The data set's own metric, for PyTorch's model and for the exported one alike."""
import copy

import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed

from ..utils.configs import type_name


def scored(cfg):
    """The loader and the evaluator of the validation set, as configs; of the test set where there
    is no other."""
    for split in ('val', 'test'):
        if cfg.get(f'{split}_dataloader') and cfg.get(f'{split}_evaluator'):
            return cfg[f'{split}_dataloader'], cfg[f'{split}_evaluator']
    return cfg.get('val_dataloader') or cfg.get('test_dataloader'), None


def needs_all(cfg):
    """Does the evaluator refuse a part of the validation set? nuScenes' own does."""
    evaluators = scored(cfg)[1] or ()
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    return any(type_name(one) == 'NuScenesMetric' for one in evaluators)


def build_loader(cfg, samples=None):
    """The loader of the validation set: one sample at a time, in this process.

    Args:
        cfg (Config): The student's.
        samples (int, optional): Only so many, spread over the set.
    """
    loader = copy.deepcopy(scored(cfg)[0])
    loader.update(batch_size=1, num_workers=0, persistent_workers=False, drop_last=False,
                  sampler=dict(type='DefaultSampler', shuffle=False))
    loader.pop('prefetch_factor', None)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        built = Runner.build_dataloader(loader)
        if samples is not None and samples < len(built.dataset):
            chosen = [i * len(built.dataset) // samples for i in range(samples)]
            built.dataset.get_subset_(chosen)
    return built


def seeded(loader):
    """The batches of a loader, the same ones each time, whatever its pipeline draws by lot.

    mmdet3d's LoadPointsFromMultiSweeps does, also in a test pipeline, unless it has
    ``test_mode=True``: a metric would differ from itself.
    """
    batches = iter(loader)
    for number in range(len(loader)):
        set_random_seed(number)
        yield next(batches)


def evaluate(model, cfg, samples=None, check=None):
    """The metrics of a model, PyTorch's or mmdeploy's.

    Args:
        model (BaseModel): In eval mode.
        cfg (Config): With the data set and the evaluator.
        samples (int, optional): Only so many.
        check (callable, optional): Called with every preprocessed batch.

    Returns:
        dict: name -> number.

    Raises:
        ValueError: The evaluator failed.
    """
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        loader = build_loader(cfg, samples)
        evaluator = Evaluator(copy.deepcopy(scored(cfg)[1]))
        evaluator.dataset_meta = loader.dataset.metainfo
        for batch in seeded(loader):
            ready = model.data_preprocessor(copy.deepcopy(batch), False)
            if check is not None:
                check(ready)
            with torch.no_grad():
                outputs = model._run_forward(ready, mode='predict')
            evaluator.process(data_samples=outputs, data_batch=batch)
        try:
            metrics = evaluator.evaluate(len(loader.dataset))
        except Exception as error:  # NuScenesMetric: where no sample has a single box
            raise ValueError(f"the config's evaluator failed on {type(model).__name__} "
                             f'({type(error).__name__}: {error}); without the metric: --no-metric'
                             ) from error
    return {key: float(value) for key, value in metrics.items()
            if isinstance(value, (int, float)) or getattr(value, 'size', 0) == 1}
