"""Every distinct model of mmseg's zoo as student and teacher: how many of how many work?

    python tools/dev/zoo.py                        # all; hours on one core, goes on if interrupted
    python tools/dev/zoo.py --sample 4             # today's four; another day, other four
    python tools/dev/zoo.py --match 'pidnet|knet'

A model counts if it builds and takes a stock training step here, without downloads. Then it
is distilled from the same config with other weights, with a logits term (CWD) and with a
backbone term (FitNet behind a ConvConnector): it builds and steps, the term's loss is finite
and above zero with a gradient at the student's tensor, the student's own losses and its
predictions are bitwise those without mmkd, the state_dict is the student's plus
``distiller.*``, the teacher does not change, and both sides read the same tensor.
Depth is cut, and configs that differ only in depth, crop, classes or weights are one model.

The whole zoo is written to benchmarks/results/zoo.{json,md}; a sample fails (exit code 1)
where a model is worse than written there.
"""
import argparse
import datetime
import json
import multiprocessing
import random
import re
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))
import torch
from _zoo_check import TERMS, check
from _zoo_models import distinct_models, model_of
from common import RESULTS, head
from mmengine.logging import MMLogger

PROGRESS = Path('work_dirs/zoo/progress.jsonl')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sample', type=int, metavar='N', help='only N models, drawn by the seed')
    parser.add_argument('--seed', type=int, default=datetime.date.today().toordinal(),
                        help='of the sample (default: the day)')
    parser.add_argument('--match', metavar='REGEX', default='', help='only configs that match')
    parser.add_argument('--jobs', type=int, default=1, help='processes at a time')
    parser.add_argument('--limit', type=float, default=900, help='seconds per model (%(default)s)')
    parser.add_argument('--fresh', action='store_true',
                        help='forget what an interrupted run of the whole zoo has found')
    return parser.parse_args(argv)


# ---- one process for each model -----------------------------------------------------------
def _child(config, pipe):
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    MMLogger.get_instance('zoo', logger_name='zoo', log_level='ERROR')
    pipe.send(check(model_of(config)))


def results_of(configs, jobs, limit):
    """Yield (config, what check() says), as they come; a crash or a timeout is a result, too."""
    context, left, running = multiprocessing.get_context('fork'), list(configs), []
    while left or running:
        while left and len(running) < jobs:
            config, (ours, theirs) = left.pop(0), context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(config, theirs))
            process.start()
            theirs.close()
            running.append((config, process, ours, time.monotonic()))
        for item in list(running):
            config, process, pipe, start = item
            over = time.monotonic() - start > limit
            if not (pipe.poll(0.2) or over or not process.is_alive()):
                continue
            running.remove(item)
            try:
                result = pipe.recv() if pipe.poll() else None
            except EOFError:
                result = None
            if result is None:
                why = f'longer than {limit:g} s' if over else f'died ({process.exitcode})'
                result = dict(stock='', student='', **dict.fromkeys(TERMS, why))
            process.kill()
            process.join()
            yield config, dict(result, seconds=round(time.monotonic() - start, 1))


# ---- what is found ------------------------------------------------------------------------
def summary(rows):
    """{term: (models that are perfect, models that train here)}."""
    here = [row for row in rows.values() if not row['stock']]
    return {name: (sum(not row[name] for row in here), len(here)) for name in TERMS}


def tell(config, row):
    if row['stock']:
        print(f"{config}: does not train here without mmkd: {_short(row['stock'])}", flush=True)
        return
    said = [f"{name}: {_short(row[name]) or 'ok'}" for name in TERMS]
    print(f"{config} ({row['seconds']} s): {'; '.join(said)}", flush=True)


def _short(text, length=300):
    text = ' '.join(text.split())
    return text if len(text) <= length else text[:length - 3] + '...'


def render(report):
    """The Markdown of a whole run."""
    rows = report['models']
    lines = ['| | models |', '|---|---|']
    for name, (good, count) in summary(rows).items():
        lines.append(f'| {name} term | {good} of {count} |')
    configs = sum(row['configs'] for row in rows.values())
    lines += ['', f"{configs} configs of mmseg's zoo hold {len(rows)} distinct models (depth, "
              f"crops, classes and weights ignored); {len(report['unread'])} configs need a "
              f"package that is not here. {report['date']}, torch {report['torch']}, "
              f"`{report['command']}`."]
    worse = {config: row for config, row in rows.items()
             if row['stock'] or any(row.get(name) for name in TERMS)}
    if worse:
        lines += ['', '| model | what is not perfect |', '|---|---|']
    for config, row in worse.items():
        why = f"does not train here without mmkd: {row['stock']}" if row['stock'] else '; '.join(
            f'{name} term: {row[name]}' for name in TERMS if row[name])
        lines.append(f"| {config} | {_short(why).replace('|', '/')} |")
    return '\n'.join(lines) + '\n'


def _read_progress(fresh):
    if fresh or not PROGRESS.is_file():
        return {}
    return {row.pop('config'): row for row in map(json.loads, PROGRESS.read_text().splitlines())}


def whole(args):
    models, unread = distinct_models()
    PROGRESS.parent.mkdir(parents=True, exist_ok=True)
    rows = _read_progress(args.fresh)
    with open(PROGRESS, 'w' if args.fresh else 'a') as file:
        left = [config for config in models if config not in rows]
        print(f'{len(models)} models, {len(left)} left to try', flush=True)
        for config, row in results_of(left, args.jobs, args.limit):
            rows[config] = dict(row, configs=models[config])
            file.write(json.dumps(dict(rows[config], config=config)) + '\n')
            file.flush()
            tell(config, row)
    report = dict(head('cpu'), unread=unread, models={c: rows[c] for c in models})
    (RESULTS / 'zoo.json').write_text(json.dumps(report, indent=1) + '\n')
    (RESULTS / 'zoo.md').write_text(render(report))
    return report['models'], {}


def some(args):
    """A sample, or the models that match: what was found, and what was written before."""
    file = RESULTS / 'zoo.json'
    before = json.loads(file.read_text())['models'] if file.is_file() else {}
    configs = sorted(c for c in before or distinct_models()[0] if re.search(args.match, c))
    if args.sample is not None:
        good = [c for c in configs if not before.get(c, dict(stock=''))['stock']]
        configs = random.Random(args.seed).sample(good, min(args.sample, len(good)))
        print(f'seed {args.seed}: {len(configs)} of {len(good)} models', flush=True)
    rows = {}
    for config, row in results_of(configs, args.jobs, args.limit):
        rows[config] = row
        tell(config, row)
    return rows, before


def main(args):
    rows, before = some(args) if args.match or args.sample is not None else whole(args)
    for name, (good, count) in summary(rows).items():
        print(f'{name} term: {good} of {count}')
    worse = [config for config, row in rows.items() if any(
        row.get(name) and not before.get(config, {}).get(name) for name in TERMS)]
    if worse:
        print(f"worse than written in {RESULTS / 'zoo.json'}: {', '.join(worse)}"
              if before else f"not perfect: {', '.join(worse)}")
    return 1 if worse and (args.match or args.sample is not None) else 0


if __name__ == '__main__':
    sys.exit(main(parse_args()))
