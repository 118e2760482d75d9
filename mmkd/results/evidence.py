"""Our own result of a config, read from the work dir of its training."""
import glob
import json
import os
import re

from mmengine.config import Config

from ..utils.checkpoint import safe_load
from ..utils.configs import read_config
from ..utils.provenance import clean_head, sha256

#: what must be as in the config for the number to be the config's
_COMPARED = ('model', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'train_dataloader',
             'val_dataloader')
#: where data and weights lie, and how they are read, changes no result
_FREE = ('data_root', 'num_workers', 'persistent_workers', 'pin_memory', '_scope_')


def collect(config, work_dir, metrics, batch_size, root, git_sha=None, best=False):
    """({metric's name: value}, evidence) of a finished training.

    Args:
        config (str): The config that the number is for.
        work_dir (str): Where mmengine wrote logs and checkpoints.
        metrics (list of Metric): What is wanted; the first says which evaluation is best.
        batch_size (int): Pictures per step on all GPUs that the config means.
        root (str): The repository.
        git_sha (str, optional): Commit that was trained; default: the work dir's own record
            (``git_sha`` in its config), or HEAD if nothing is uncommitted.
        best (bool): Take the best evaluation instead of the last.

    Raises:
        FileNotFoundError: No evaluation, log or checkpoint there.
        ValueError: The training was not of this config, or its seed or commit is unknown.
    """
    run, record = _evaluation(work_dir, metrics, best)
    step = int(record['step'])
    run_config = _run_config(work_dir, run)
    wrong = differences(read_config(config), run_config)
    if wrong:
        raise ValueError(f'{work_dir} is no training of {config}:\n  ' + '\n  '.join(wrong[:8]))
    log = _log(run)
    _check_batch(log, run_config, batch_size)
    unit = 'epoch' if run_config.train_cfg.get('max_iters') is None else 'iter'
    checkpoint = _checkpoint(work_dir, unit, step, metrics[0])
    meta = safe_load(checkpoint).get('meta', {})
    seed = meta.get('seed', (run_config.get('randomness') or {}).get('seed'))
    if not isinstance(seed, int):
        raise ValueError(f'{checkpoint} does not say which seed it was trained with')
    if meta.get(unit) not in (None, step):
        raise ValueError(f'{checkpoint} is of {unit} {meta[unit]}, the evaluation of {step}')
    return {metric.name: metric.of(record[metric.key]) for metric in metrics}, {
        'Log': os.path.relpath(log, root) if _inside(log, root) else log,
        'Git SHA': git_sha or run_config.get('git_sha') or clean_head(root),
        'Seed': seed,
        'Checkpoint SHA256': sha256(checkpoint),
        {'iter': 'Iteration', 'epoch': 'Epoch'}[unit]: step,
        'Evaluation': 'best' if best else 'last'}


def _evaluation(work_dir, metrics, best):
    """(folder of the run, what an evaluation logged)."""
    found = []
    for path in sorted(glob.glob(os.path.join(work_dir, '*', 'vis_data', 'scalars.json'))):
        with open(path, encoding='utf-8') as file:
            found += [(os.path.dirname(os.path.dirname(path)), record)
                      for record in map(json.loads, filter(str.strip, file))
                      if all(metric.key in record for metric in metrics)]
    if not found:
        raise FileNotFoundError(f'{work_dir} holds no evaluation: no '
                                f"{' and '.join(metric.key for metric in metrics)} in any "
                                '<time>/vis_data/scalars.json')
    # Runs sort by time; a resumed training has several.
    return max(found, key=lambda item: item[1][metrics[0].key]) if best else found[-1]


def _run_config(work_dir, run):
    for path in [os.path.join(run, 'vis_data', 'config.py'),
                 *glob.glob(os.path.join(work_dir, '*.py'))]:
        if os.path.isfile(path):
            return Config.fromfile(path)
    raise FileNotFoundError(f'{work_dir} holds no config of its training')


def _log(run):
    logs = sorted(glob.glob(os.path.join(run, '*.log')))
    if not logs:
        raise FileNotFoundError(f'{run} holds no log')
    return logs[0]


def _checkpoint(work_dir, unit, step, metric):
    names = [f'{unit}_{step}.pth', f"best_{metric.key.replace('/', '_')}_{unit}_{step}.pth"]
    for name in names:
        if os.path.isfile(os.path.join(work_dir, name)):
            return os.path.join(work_dir, name)
    raise FileNotFoundError(f"{work_dir} holds none of {', '.join(names)}, the checkpoint that "
                            'was evaluated')


def _check_batch(log, run_config, wanted):
    """Is the number of pictures per step the config's?"""
    with open(log, encoding='utf-8') as file:
        match = re.search(r'GPU number: (\d+)', file.read())
    if match is None:
        raise ValueError(f"{log} does not say on how many GPUs it ran ('GPU number: ')")
    size = int(match[1]) * run_config.train_dataloader.batch_size
    if size != wanted:
        raise ValueError(f'{log}: trained with {size} pictures per step ({match[1]} GPUs), the '
                         f"config's name says {wanted}")


def _inside(path, root):
    return not os.path.relpath(path, root).startswith(os.pardir)


def differences(wanted, got):
    """Where the config of a run is not the config it should be, one line each."""
    lines = []
    for key in _COMPARED:
        _compare(_plain(wanted.get(key)), _plain(got.get(key)), key, lines)
    return lines


def _compare(wanted, got, where, lines):
    if isinstance(wanted, dict) and isinstance(got, dict):
        for key in dict.fromkeys([*wanted, *got]):
            if key not in _FREE:
                _compare(wanted.get(key), got.get(key), f'{where}.{key}', lines)
    elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        for i, pair in enumerate(zip(wanted, got, strict=True)):
            _compare(*pair, f'{where}[{i}]', lines)
    elif wanted != got and not _same_weights(wanted, got, where):
        lines.append(f'{where}: {got!r} instead of {wanted!r}')


def _same_weights(wanted, got, where):
    """Weights may come from another place, under the same file name."""
    if not isinstance(wanted, str) or not isinstance(got, str):
        return False
    if where.endswith('.pretrained'):
        return True
    return where.endswith('.checkpoint') and os.path.basename(wanted) == os.path.basename(got)


def _plain(value):
    """Dicts and lists only: a dumped config has lists where the file has tuples."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
