"""What the benchmark scripts share: options, timing, the machine, and where results go."""
import argparse
import datetime
import json
import platform
import re
import sys
import time
from pathlib import Path

import torch

RESULTS = Path(__file__).resolve().parent / 'results'


def options(doc, stem, quick):
    """The parser with the options of every script; ``quick`` says what --quick leaves out."""
    parser = argparse.ArgumentParser(description=doc,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help=f'{quick}, no file written')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--only', help='cases whose name contains this; no file written')
    parser.add_argument('--out', type=Path, help=f'folder of {stem}.json and {stem}.md')
    return parser


def seconds(run, device):
    """Seconds of one call: CUDA events on a GPU, else process CPU time."""
    if device == 'cuda':
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1000
    begin = time.process_time()
    run()
    return time.process_time() - begin


def status_mib(key):
    text = Path('/proc/self/status').read_text()
    return int(text.split(key + ':')[1].split()[0]) / 1024


def peak_mib(run, device):
    """Peak memory of one call in MiB, beyond what was in use before: of tensors on a GPU, else of
    this process, which should be a fresh one."""
    if device == 'cuda':
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2 ** 20
    Path('/proc/self/clear_refs').write_text('5')  # resets VmHWM to the present size
    before = status_mib('VmRSS')
    run()
    return status_mib('VmHWM') - before


def device_name(device):
    if device == 'cuda':
        return torch.cuda.get_device_name()
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.split(':')[1].strip() + ', 1 thread'
    return platform.processor()


def without_out(command):
    """A command without --out: where results go is of one machine."""
    return re.sub(r' --out[ =]\S+', '', command)


def head(device):
    """How a report came about."""
    return dict(command=without_out(' '.join(['python', *sys.argv])), torch=torch.__version__,
                date=datetime.date.today().isoformat(), device=device_name(device))


def folder_of(args):
    """Where the results go; None: nowhere, for they are not the whole table."""
    if args.out is None and not (args.quick or args.only):
        return RESULTS
    return args.out


def stem_on(stem, device):
    return stem if device == 'cpu' else f'{stem}_{device}'


def write(report, text, folder, stem, device):
    """The report as STEM.json and STEM.md (STEM_cuda.* on a GPU) in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = stem_on(stem, device)
    (folder / f'{stem}.json').write_text(json.dumps(report, indent=1) + '\n')
    (folder / f'{stem}.md').write_text(text)
