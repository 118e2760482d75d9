"""What a training wrote about itself, from its ``vis_data/scalars.json``."""
import glob
import json
import os

#: what a record holds besides metrics and losses
_ABOUT = ('step', 'iter', 'epoch', 'time', 'data_time', 'memory')


def training_records(work_dir):
    """The records of the training's steps, in order, one per step: lists of dicts.

    A resumed training has several files, and may have logged a step twice: the later counts.
    """
    return _by_step(record for record in _records(work_dir) if 'iter' in record)


def evaluation_records(work_dir):
    """The records of the validations, in order; ``step`` is an iteration or an epoch."""
    return _by_step(record for record in _records(work_dir)
                    if 'iter' not in record and metrics_of(record))


def metrics_of(record):
    """The metrics in one record, in the evaluator's order."""
    return {key: value for key, value in record.items()
            if key not in _ABOUT and isinstance(value, (int, float))}


def test_metrics(work_dir):
    """The metrics that the newest test run in ``work_dir`` wrote, or None."""
    for path in sorted(glob.glob(os.path.join(glob.escape(work_dir), '*', '*.json')), reverse=True):
        for record in reversed(_lines(path)):
            if metrics_of(record):
                return metrics_of(record)
    return None


def _by_step(records):
    found = {}
    for record in records:
        found.pop(record['step'], None)
        found[record['step']] = record
    return [found[step] for step in sorted(found)]


def _records(work_dir):
    paths = glob.glob(os.path.join(glob.escape(work_dir), '*', 'vis_data', 'scalars.json'))
    return [record for path in sorted(paths) for record in _lines(path) if 'step' in record]


def _lines(path):
    """The whole records of a file of JSON lines: a killed run leaves half a line."""
    records = []
    with open(path, encoding='utf-8', errors='replace') as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                records.append(record)
    return records
