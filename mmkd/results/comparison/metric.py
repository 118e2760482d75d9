"""Which metric a comparison is about."""
import contextlib
import io
import logging

from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, init_default_scope

from ...utils.hints import did_you_mean
from ...visualization.predictions import build_model, predict

#: what tables are made of, by the last part of the metric's name
_USUAL = ('NDS', 'bbox_mAP', 'mAP', 'mIoU')


def wanted(cfg, key=None):
    """The metric named on the command line or by the config's ``save_best``, or None."""
    if key is not None:
        return key
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    best = hook.get('save_best')
    best = best[0] if isinstance(best, (list, tuple)) and best else best
    return best if isinstance(best, str) and best != 'auto' else None


def choose(metrics, key=None):
    """The name in ``metrics`` of the metric to show.

    Args:
        metrics (dict): Of one evaluation.
        key (str, optional): A name, or the end of one after a slash; else the usual one for
            tables, else the first.

    Raises:
        ValueError: There is none of that name.
    """
    if key is None:
        for usual in _USUAL:
            found = _named(usual, metrics)
            if found:
                return found
        return next(iter(metrics))
    found = _named(key, metrics)
    if found is None:
        raise ValueError(f'the evaluation has no metric {key!r} (it has {", ".join(metrics)})'
                         + did_you_mean(key, [*metrics, *(_last(name) for name in metrics)]))
    return found


def beside(metrics, chosen):
    """The names in ``metrics`` of what tables also have beside the chosen one: nuScenes' mAP
    beside its NDS."""
    found = [_named(usual, metrics) for usual in _USUAL]
    return [name for name in dict.fromkeys(found) if name not in (None, chosen)]


def _named(key, metrics):
    if key in metrics:
        return key
    return next((name for name in metrics if _last(name) == key), None)


def _last(name):
    return name.rpartition('/')[2]


def check(cfg, key, split):
    """Refuse a metric that the evaluation will not have, before anything is trained.

    The untrained model is evaluated on one item. Some evaluators say nothing about so little
    (no detection, an incomplete split): then it is told after the first evaluation.

    Args:
        cfg (Config): Of the student alone.
        key (str, optional): What was asked for.
        split (str): 'val' or 'test'.

    Raises:
        ValueError: It has other metrics.
    """
    if wanted(cfg, key) is not None:
        metrics = _trial(cfg, split)
        if metrics:
            choose(metrics, wanted(cfg, key))


def _trial(cfg, split):
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            init_default_scope(cfg.get('default_scope', 'mmengine'))
            dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
            evaluator = Evaluator(cfg[f'{split}_evaluator'])
            evaluator.dataset_meta = dataset.metainfo
            item = dataset[0]
            evaluator.process([predict(build_model(cfg).eval(), item)], pseudo_collate([item]))
            return evaluator.evaluate(1)
    except Exception:  # whatever it is, the training says it with its log
        return None
    finally:
        logging.disable(logging.NOTSET)
