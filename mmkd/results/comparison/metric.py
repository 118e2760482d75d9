"""Which metric a comparison is about."""
from ...utils.hints import did_you_mean

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
                         + did_you_mean(key, metrics))
    return found


def _named(key, metrics):
    if key in metrics:
        return key
    return next((name for name in metrics if name.rpartition('/')[2] == key), None)
