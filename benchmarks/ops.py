"""Time of mmkd's operators against what users run today, and against the best of plain PyTorch.

    python benchmarks/ops.py                    # about 15 minutes on an idle core
    python benchmarks/ops.py --quick            # one size, three rounds, to see that it runs
    python benchmarks/ops.py --device cuda
    python benchmarks/ops.py --only mean --scales 1
    python benchmarks/ops.py --only mean --update    # replaces those rows of the recorded table

Ours and theirs alternate in one process on one thread: process CPU time on the CPU, CUDA events
on a GPU; the ratio is the median of the paired ratios. Sizes are PERFORMANCE's 1 x, and 4 and 16
times the points (growth). A copy is timed in turn with them, of as many bytes as the operator must
read and write: into a new tensor, which is what every operator that returns one pays for, and
into a tensor whose memory is in use already. The machine should be idle.
"""
import gc
import importlib
import json
import pkgutil
import statistics
import sys

import op_cases
import torch
from common import RESULTS, folder_of, head, options, seconds, stem_on, write
from op_table import render

BUDGET = 2.  # seconds that the rounds of one case may take; longer ones get a single round


def copies(bytes_moved, device):
    """(into a new tensor, into an old one) of a copy that reads and writes so many bytes."""
    source = torch.ones(max(1, bytes_moved // 8), device=device)
    target = torch.zeros_like(source)
    return source.clone, lambda: target.copy_(source)


def measure(case, device, budget=BUDGET):
    """Medians in milliseconds and the paired ratios of one case."""
    runs = {'ours': case.ours}
    if case.theirs is not None:
        runs['theirs'] = case.theirs
    if case.bytes_moved:
        runs['copy_new'], runs['copy_old'] = copies(case.bytes_moved, device)
    first = 0.
    for name, run in list(runs.items()):
        try:
            first += seconds(run, device)
        except RuntimeError as error:  # the usual formulation of a large case may not fit
            if name != 'theirs' or 'memory' not in str(error):
                raise
            del runs[name]
    rounds = int(min(21, max(1 if first > BUDGET else 3, budget / max(first, 1e-6))))
    gc.disable()
    times = [{name: seconds(run, device) for name, run in runs.items()} for _ in range(rounds)]
    gc.enable()
    result = {'rounds': rounds, 'theirs_failed': case.theirs is not None and 'theirs' not in runs}
    for name in runs:
        result[f'{name}_ms'] = statistics.median(t[name] for t in times) * 1000
        if name != 'ours':
            result[f'{name}_ratio'] = statistics.median(
                t['ours'] / max(t[name], 1e-9) for t in times)
    return result


def families():
    """The modules of op_cases that have cases."""
    names = sorted(m.name for m in pkgutil.iter_modules(op_cases.__path__))
    modules = [importlib.import_module(f'op_cases.{name}') for name in names]
    return [module for module in modules if hasattr(module, 'cases')]


def row_of(case):
    """What makes a row of the table one of its own."""
    return case['name'], case['size'], case['baseline']


def merged(report, folder, device):
    """The recorded report with the cases of ``report`` in the place of its own."""
    recorded = json.loads((folder / f'{stem_on("ops", device)}.json').read_text())
    if (recorded['device'], recorded['torch']) != (report['device'], report['torch']):
        raise SystemExit(f"--update: the table was recorded on {recorded['device']}, torch "
                         f"{recorded['torch']}; record it anew")
    new = {row_of(case): case for case in report['cases']}
    recorded['cases'] = [new.get(row_of(case), case) for case in recorded['cases']]
    recorded['again'] = recorded.get('again', []) + [f"{report['command']}, {report['date']}"]
    return recorded


def main():
    parser = options(__doc__, 'ops', 'one size, three rounds')
    parser.add_argument('--scales', type=int, nargs='+', default=[1, 4, 16])
    parser.add_argument('--update', action='store_true', help='replace the rows of these cases in '
                        'the recorded table, which says so')
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.quick:
        args.scales = [1]
    report = dict(head(args.device), cuda=torch.version.cuda, cases=[])
    out = folder_of(args)
    for module in families():
        for scale in args.scales:
            torch.manual_seed(0)
            for case in module.cases(args.device, scale):
                if (args.only and args.only not in case.name) or (scale > 1 and not case.grows):
                    continue
                print(f'{case.name}, {case.size}, against {case.baseline} ...', file=sys.stderr,
                      flush=True)
                report['cases'].append(dict(
                    name=case.name, size=case.size, scale=scale, baseline=case.baseline,
                    target=case.target, memcpy_target=case.memcpy_target,
                    **measure(case, args.device, 0. if args.quick else BUDGET)))
    print(render(report))
    if args.update:
        report, out = merged(report, RESULTS, args.device), RESULTS
    if out:
        write(report, render(report), out, 'ops', args.device)


if __name__ == '__main__':
    main()
