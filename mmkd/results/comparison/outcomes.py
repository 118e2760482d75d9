"""Everything a comparison knows, as plain data: what ``comparison.json`` holds."""
import datetime
import glob
import os
import shlex
import statistics
import sys

import torch
from mmengine.config import Config

from ...utils.config_files import tools_root
from ...utils.provenance import sha256
from ...visualization.predictions import build_model
from . import machine, metric, readings
from .table import with_statistics


def outcome(plan, command):
    """The results of a plan's runs.

    Args:
        plan (Plan): Whose runs are done, or failed.
        command (list[str]): What was typed.

    Returns:
        dict: ``metric``, ``beside`` (others that the table has), ``split``, ``rows`` (a dict for
        each line of the table) and where they come from: ``command``, ``seeds``, ``date``,
        ``torch``, ``device``.

    Raises:
        ValueError: No run has the metric that was asked for.
    """
    args, key = plan.args, metric.wanted(plan.configs['student'], plan.args.metric)
    rows = [dict(model=name, runs=[_run(run, plan.out) for run in runs])
            for name, runs in plan.rows().items()]
    evaluated = [run['metrics'][args.split] for row in rows for run in row['runs']
                 if run['metrics'].get(args.split)]
    chosen = metric.choose(evaluated[-1], key) if evaluated else key
    others = metric.beside(evaluated[-1], chosen) if evaluated else []
    for row in rows:
        row['parameters'] = _parameters(plan.rows()[row['model']][0].evaluated)
        row['seconds_per_step'] = _median(run['seconds_per_step'] for run in row['runs'])
        row['peak_memory'] = max((run['peak_memory'] for run in row['runs']
                                  if run['peak_memory']), default=None)
    return with_statistics(dict(
        metric=chosen, beside=others, split=args.split, seeds=list(args.seeds),
        student=_short(args.student), teacher=_short(args.teacher),
        command=_portable(command), rows=rows,
        device=machine.device(), torch=torch.__version__, date=str(datetime.date.today())))


def _portable(command):
    """A command as one would type it in the clone's folder, without this machine's paths."""
    return shlex.join('python' if part == sys.executable else _short(part) for part in command)


def _short(text):
    """A path, or what has one in it, from the clone's folder or this one on."""
    for folder in (os.path.dirname(tools_root()), os.getcwd()):
        text = text.replace(folder + os.sep, '')
    return text


def _run(run, out):
    """What is known of one run; files are named from the folder ``out`` on."""
    def named(path):
        return path if path is None or '://' in path else (
            os.path.relpath(path, out) if path.startswith(out + os.sep) else os.path.basename(path))
    trained, log = run.trained or {}, run.path_of('train.log')
    records = readings.training_records(run.folder)
    memory = max((record['memory'] for record in records if record.get('memory')), default=None)
    return dict(
        seed=run.seed, failure=run.failure,
        metrics={split: run.metrics(split) for split in ('val', 'test')
                 if run.metrics(split) is not None},
        iterations=trained.get('iterations'),
        seconds_per_step=_median(record.get('time') for record in records),
        # mmengine logs megabytes of GPU memory; the processes' resident memory is in bytes
        peak_memory=memory * 2 ** 20 if memory else run.peak_memory,
        memory_of='GPU' if memory else 'process',
        log=named(log) if os.path.isfile(log) else None,
        log_sha256=sha256(log) if os.path.isfile(log) else None,
        checkpoint=named(run.checkpoint), checkpoint_sha256=run.weights,
        git_sha=_commits(run), command=_portable(run.record.get('command', [])),
        threads=run.threads, fingerprint=run.record.get('fingerprint'))


def _commits(run):
    """The commits that the run's sessions were trained with, joined; None if one is unknown."""
    commits = []
    for path in sorted(glob.glob(os.path.join(glob.escape(run.folder), '*', 'vis_data',
                                              'config.py'))):
        commits.append(Config.fromfile(path).get('git_sha'))
    if not commits or None in commits:
        return None
    return ', '.join(dict.fromkeys(commits))


def _median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def _parameters(cfg):
    """The number of a model's parameters."""
    return sum(parameter.numel() for parameter in build_model(cfg).parameters())
