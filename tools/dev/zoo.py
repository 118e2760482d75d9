"""Every distinct model of mmseg's zoo as student and teacher: how many of how many work?

    python tools/dev/zoo.py                      # all: 15 minutes; goes on where it was stopped
    python tools/dev/zoo.py --again 'pidnet|knet'  # all, these anew
    python tools/dev/zoo.py --match 'pidnet|knet'  # only these, nothing written
    python tools/dev/zoo.py --sample 4             # today's four; another day, other four

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
import multiprocessing.connection
import random
import re
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))
import torch
from _zoo_check import TERMS, check
from _zoo_models import distinct_models, model_of, one_block_per_stage
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
    parser.add_argument('--limit', type=int, default=300,
                        help='CPU seconds per model (%(default)s)')
    parser.add_argument('--again', metavar='REGEX', help='with the whole zoo: forget what earlier '
                        'runs found of configs that match')
    return parser.parse_args(argv)


# ---- one process for each model -----------------------------------------------------------
def _child(config, pipe, limit):
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    one_block_per_stage()
    MMLogger.get_instance('zoo', logger_name='zoo', log_level='ERROR')
    pipe.send(dict(check(model_of(config)), seconds=round(time.process_time(), 1)))


def results_of(configs, jobs, limit):
    """Yield (config, what check() says), as they come; a crash or a timeout is a result, too."""
    context, left, running = multiprocessing.get_context('fork'), list(configs), []
    while left or running:
        while left and len(running) < jobs:
            config, (ours, theirs) = left.pop(0), context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(config, theirs, limit))
            process.start()
            theirs.close()
            running.append((config, process, ours))
        multiprocessing.connection.wait([pipe for _, _, pipe in running])
        for item in list(running):
            config, process, pipe = item
            if not pipe.poll():
                continue
            running.remove(item)
            try:
                result = pipe.recv()
            except EOFError:
                process.join()
                why = f'longer than {limit} s of CPU' if process.exitcode == -signal.SIGXCPU \
                    else f'died ({process.exitcode})'
                result = dict(stock='', **dict.fromkeys(TERMS, why), seconds=0.)
            process.join()
            yield config, result


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
    commits = Counter(row['commit'] for row in rows.values())
    tried = f"{len(rows)} of {report['distinct']} were tried, with mmkd as of " + ', '.join(
        f'{commit} ({count})' for commit, count in commits.most_common())
    lines += ['', f"{report['configs']} configs of mmseg's zoo hold {report['distinct']} distinct "
              f"models (depth, crops, classes and weights ignored); {len(report['unread'])} more "
              f"need a package that is not here. {tried}. {report['date']}, torch "
              f"{report['torch']}, `{report['command']}`."]
    worse = {config: row for config, row in rows.items()
             if row['stock'] or any(row.get(name) for name in TERMS)}
    if worse:
        lines += ['', '| model | what is not perfect |', '|---|---|']
    for config, row in worse.items():
        why = f"does not train here without mmkd: {row['stock']}" if row['stock'] else '; '.join(
            f'{name} term: {row[name]}' for name in TERMS if row[name])
        lines.append(f"| {config} | {_short(why).replace('|', '/')} |")
    return '\n'.join(lines) + '\n'


def _read_progress(again):
    lines = PROGRESS.read_text().splitlines() if PROGRESS.is_file() else []
    rows = {row.pop('config'): row for row in map(json.loads, lines)}
    return {config: row for config, row in rows.items()
            if again is None or not re.search(again, config)}


def _write_progress(rows):
    PROGRESS.parent.mkdir(parents=True, exist_ok=True)
    PROGRESS.write_text(''.join(json.dumps(dict(row, config=config)) + '\n'
                                for config, row in rows.items()))


def code():
    """The commit that last changed mmkd, with a + if mmkd was changed since."""
    def git(*words):
        return subprocess.run(['git', *words, '--', ':/mmkd'], cwd=Path(__file__).parent,
                              check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    return git('log', '-1', '--format=%h') + '+' * bool(git('status', '--porcelain'))


def _families_in_turn(configs):
    """The first model of every folder, then the second, ...: an early end leaves no family out."""
    configs, seen, order = list(configs), Counter(), {}
    for config in configs:
        family = config.partition('/')[0]
        order[config] = seen[family]
        seen[family] += 1
    return sorted(configs, key=order.get)


def whole(args):
    """All models; what is known when it is interrupted is written, too."""
    models, unread = distinct_models()
    rows, commit = _read_progress(args.again), code()
    left = _families_in_turn(config for config in models if config not in rows)
    print(f'{len(models)} models, {len(left)} left to try', flush=True)
    try:
        for config, row in results_of(left, args.jobs, args.limit):
            rows[config] = dict(row, commit=commit)
            tell(config, row)
            _write_progress(rows)
    finally:
        report = dict(head('cpu'), configs=sum(models.values()), distinct=len(models),
                      unread=unread, models={config: dict(rows[config], configs=count)
                                             for config, count in models.items()
                                             if config in rows})
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


def _wrong(row, name):
    return row['stock'] or row[name]


def main(args):
    rows, before = some(args) if args.match or args.sample is not None else whole(args)
    for name, (good, count) in summary(rows).items():
        print(f'{name} term: {good} of {count}')
    worse = [config for config, row in rows.items() for name in TERMS if _wrong(row, name)
             and not (config in before and _wrong(before[config], name))]
    if worse:
        print(f'{"worse than written" if before else "not perfect"}: '
              + ', '.join(dict.fromkeys(worse)))
    return 1 if worse and (args.match or args.sample is not None) else 0


if __name__ == '__main__':
    sys.exit(main(parse_args()))
