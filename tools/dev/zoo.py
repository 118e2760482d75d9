"""Every distinct model of mmseg's, mmdet's and mmdet3d's zoos as student and teacher: how many
work?

    python tools/dev/zoo.py                      # all: 40 minutes; goes on where it was stopped
    python tools/dev/zoo.py --library mmdet          # of one library
    python tools/dev/zoo.py --again 'pidnet|knet'    # all, these anew
    python tools/dev/zoo.py --match 'pidnet|knet'    # only these, nothing written
    python tools/dev/zoo.py --sample 4               # today's four; another day, other four

A model counts if it builds and takes a stock training step here, without downloads. Then it
is distilled from the same config with other weights: a segmentor with a logits term (CWD) and a
backbone term (FitNet behind a ConvConnector); a detector with a term on its neck or, without
one, its backbone (PKD), on its class scores or those of its queries or its RPN (CWD), and on
the class scores of its RoIs (DeFeat); one of mmdet3d with terms on its map seen from above and
on its image branch (PKD), and on its heatmaps or class scores (CWD); all as far as it has them.
It builds and steps, each term's loss is finite and above zero with a gradient at the student's
tensors, the student's own losses and its predictions are bitwise those without mmkd, the
state_dict is the student's plus ``distiller.*``, the teacher does not change, and both sides
read the same tensors.
Depth is cut (of a detector width and voxels, too, where it still trains then), and configs that
differ only in depth, crop, classes or weights (of a detector in numbers) are one model.
mmdet3d's runs on the operators of mmkd where there is no GPU, and its sparse convolutions on
spconv, if it is installed: the models that it is in are left out of a sample where it is not.

The whole zoo is written to benchmarks/results/zoo.{json,md} (zoo_mmdet, zoo_mmdet3d for the
others); a sample fails (exit code 1) where a model is worse than written there.
"""
import argparse
import datetime
import hashlib
import importlib.metadata
import importlib.util
import json
import multiprocessing.connection
import random
import re
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))
import torch
from _zoo_check import check
from _zoo_libraries import ZOOS
from _zoo_models import distinct_models, model_of, one_block_per_stage
from _zoo_report import code, render, summary, tell, worse_than
from common import RESULTS, head
from mmengine.logging import MMLogger

PROGRESS = Path('work_dirs/zoo')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--library', choices=ZOOS, help='default: all, one after the other')
    parser.add_argument('--sample', type=int, metavar='N', help='only N models of each '
                        'library, drawn by the seed')
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
def _child(config, library, pipe, limit):
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    one_block_per_stage()
    MMLogger.get_instance('zoo', logger_name='zoo', log_level='ERROR')
    for smaller in ZOOS[library].smaller:
        found = check(model_of(config, library, smaller), library)
        if not found['stock']:
            break
    pipe.send(dict(found, seconds=round(time.process_time(), 1)))


def results_of(configs, library, jobs, limit):
    """Yield (config, what check() says), as they come; a crash or a timeout is a result, too."""
    context, left, running = multiprocessing.get_context('fork'), list(configs), []
    while left or running:
        while left and len(running) < jobs:
            config, (ours, theirs) = left.pop(0), context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(config, library, theirs, limit))
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
                result = dict(stock='', **dict.fromkeys(ZOOS[library].terms, why), seconds=0.)
            process.join()
            yield config, result


# ---- all, or some ---------------------------------------------------------------------------
def _progress(library):
    return PROGRESS / f"progress{ZOOS[library].file.removeprefix('zoo')}.jsonl"


def _read_progress(library, again):
    file = _progress(library)
    lines = file.read_text().splitlines() if file.is_file() else []
    rows = {row.pop('config'): row for row in map(json.loads, lines)}
    return {config: row for config, row in rows.items()
            if again is None or not re.search(again, config)}


def _write_progress(library, rows):
    PROGRESS.mkdir(parents=True, exist_ok=True)
    _progress(library).write_text(''.join(json.dumps(dict(row, config=config)) + '\n'
                                          for config, row in rows.items()))


def _families_in_turn(configs):
    """The first model of every folder, then the second, ...: an early end leaves no family out."""
    configs, seen, order = list(configs), Counter(), {}
    for config in configs:
        family = config.partition('/')[0]
        order[config] = seen[family]
        seen[family] += 1
    return sorted(configs, key=order.get)


def _listed(library):
    """distinct_models(), kept while the library and what decides about them are as they were."""
    sources = [Path(__file__).with_name(f'_zoo_{name}.py')
               for name in ('libraries', 'models', 'shrink')]
    version = importlib.metadata.version(ZOOS[library].package or library)
    key = hashlib.sha256(b''.join(map(Path.read_bytes, sources)) + version.encode()).hexdigest()
    file = PROGRESS / f'models_{library}.json'
    kept = json.loads(file.read_text()) if file.is_file() else {}
    if kept.get('key') != key:
        kept = dict(key=key, found=distinct_models(library))
        PROGRESS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept))
    return kept['found']


def _installed(library):
    """Optional package -> its version, of those that are here."""
    return {name: importlib.metadata.version(name) for name in ZOOS[library].optional
            if importlib.util.find_spec(name) is not None}


def whole(library, args):
    """All models; what is known when it is interrupted is written, too."""
    models, unread = _listed(library)
    rows, commit = _read_progress(library, args.again), code()
    left = _families_in_turn(config for config in models if config not in rows)
    print(f'{library}: {len(models)} models, {len(left)} left to try', flush=True)
    try:
        for config, row in results_of(left, library, args.jobs, args.limit):
            rows[config] = dict(row, commit=commit)
            tell(config, row, ZOOS[library].terms)
            _write_progress(library, rows)
    finally:
        report = dict(head('cpu'), library=library, configs=sum(models.values()),
                      distinct=len(models), unread=unread, packages=_installed(library),
                      models={config: dict(rows[config], configs=count)
                              for config, count in models.items() if config in rows})
        name = ZOOS[library].file
        (RESULTS / f'{name}.json').write_text(json.dumps(report, indent=1) + '\n')
        (RESULTS / f'{name}.md').write_text(render(report, library))
    return report['models'], {}


def some(library, args):
    """A sample, or the models that match: what was found, and what was written before."""
    file = RESULTS / f'{ZOOS[library].file}.json'
    before = json.loads(file.read_text())['models'] if file.is_file() else {}
    configs = sorted(c for c in before or distinct_models(library)[0] if re.search(args.match, c))
    missing = {c: before[c]['needs'] for c in configs if c in before
               and not set(before[c].get('needs', ())) <= set(_installed(library))}
    if missing:
        names = ', '.join(sorted({name for needs in missing.values() for name in needs}))
        print(f'{library}: {len(missing)} models are left out, for {names} is not installed here')
        configs = [c for c in configs if c not in missing]
    if args.sample is not None:
        good = [c for c in configs if c not in before or any(  # what has nothing to lose is left
            before[c].get(name) == '' for name in ZOOS[library].terms)]
        configs = random.Random(args.seed).sample(good, min(args.sample, len(good)))
        print(f'{library}, seed {args.seed}: {len(configs)} of {len(good)} models', flush=True)
    rows = {}
    for config, row in results_of(configs, library, args.jobs, args.limit):
        rows[config] = row
        tell(config, row, ZOOS[library].terms)
    return rows, before


def main(args):
    failed = False
    partial = bool(args.match) or args.sample is not None
    for library in [args.library] if args.library else ZOOS:
        rows, before = (some if partial else whole)(library, args)
        for name, (good, count) in summary(rows, ZOOS[library].terms).items():
            print(f'{library}, {name} term: {good} of {count}')
        worse = worse_than(before, rows, ZOOS[library].terms)
        if worse:
            print(f'{"worse than written" if before else "not perfect"}: ' + ', '.join(worse))
        failed |= partial and bool(worse)
    return int(failed)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is known is written
    sys.exit(main(parse_args()))
