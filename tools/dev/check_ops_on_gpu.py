"""Build, test, sanitize and time mmkd.ops on a machine with a GPU, in about five minutes.

    python tools/dev/check_ops_on_gpu.py [--only STEP ...] [--limit S] [--out DIR] [--logs DIR]

Needs torch (a CUDA build, 2.10 or newer), numpy, pytest, hypothesis, nvcc and g++; nothing else
of OpenMMLab (tests against mmcv are skipped with the reason printed). With pytest-xdist the tests
run side by side. Steps, those of one line at the same time:

- build-cpu, build-cuda: compile the kernels; a warning of nvcc fails;
- tests: tests/ops on both devices, what is expected computed on the CPU; memcheck, racecheck,
  synccheck, initcheck: compute-sanitizer's tools, where that is installed;
- benchmark: benchmarks/ops.py --device cuda.

A summary goes to DIR/ops_gpu_check.md, next to the benchmark's table (by default in
benchmarks/results), and what the steps print to files. Exits non-zero when a step fails; the
later ones still run.
"""
import argparse
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SANITIZERS = ('memcheck', 'racecheck', 'synccheck', 'initcheck')
STEPS = ('build-cpu', 'build-cuda', 'tests', *SANITIZERS, 'benchmark')
#: What the sanitizers run: every kernel on a few awkward inputs, and on more than one block
SANITIZED = ('tests/ops/fuzz', 'tests/ops/test_ends_of_chunks.py')
#: mmkd need not be installed; the benchmark, a script, would need that otherwise
PATHS = {'PYTHONPATH': os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))}
EXAMPLES = '2'  # of each fuzz test: launches that the sanitizers slow down
FOUND = 66  # exit code of a sanitizer that has something to report


class Step(NamedTuple):
    name: str
    command: list
    limit: int  # seconds
    environment: dict = {}


class Outcome(NamedTuple):
    name: str
    good: bool | None  # None: not run
    result: str
    seconds: float


def pytest_command(*arguments):
    return [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *arguments]


def sanitizer_step(tool, path, options):
    """Step of one of compute-sanitizer's tools; ``options`` is what its --help prints."""
    command = [path, '--tool', tool, '--report-api-errors', 'no']
    # initcheck has to see the writes of torch's kernels; what it says of those is not counted.
    if tool != 'initcheck':
        kernels = '--kernel-name' if '--kernel-name' in options else '--kernel-regex'
        command += ['--error-exitcode', str(FOUND), kernels, 'kns=mmkd']
    return Step(tool, [*command, *pytest_command(*SANITIZED, '-m', 'not slow', '-k', 'not cpu')],
                300, {'MMKD_FUZZ_EXAMPLES': EXAMPLES, 'PYTORCH_NO_CUDA_MEMORY_CACHING': '1'})


def findings(log):
    """(ours, others): reports of compute-sanitizer on one of our kernels, or on a call of our
    library where they name no kernel, and those on others' kernels."""
    reports = []
    for line in log.splitlines():
        text = line.removeprefix('=========')
        if text == line or not text.strip():
            continue
        if text.startswith('  ') and reports:
            reports[-1] += text
        elif not re.search(r'COMPUTE-SANITIZER|SUMMARY|Target application returned', text):
            reports.append(text)
    # Behind the kernel come the frames of the host, ours too where we called torch's kernel.
    where = [re.split('Saved host backtrace|Host Frame', report)[0] if '     at ' in report else
             report for report in reports]
    ours = sum(bool(re.search('mmkd::|4mmkd|mmkd_ops_', text)) for text in where)
    return ours, len(reports) - ours


def judge(step, code, log):
    """(went well, result in words) of a step that ended with ``code``."""
    counts = re.findall(r'^=* ?((?:\d+ [a-z]+,? )+)in [\d.]+s', log, re.MULTILINE)  # pytest's own
    words = [counts[-1].strip()] if counts else []
    good = code == 0
    if step.name in SANITIZERS:
        ours, others = findings(log)
        good = good and not ours and ' passed' in ''.join(counts)
        words.append(f'{ours} reports')
        if others:
            words.append(f"{others} of others' kernels")
    if step.name == 'build-cuda' and 'warning' in log:
        good = False
        words.append(f"{log.count('warning')} warnings")
    if not good:
        words.append(code if isinstance(code, str) else f'exit code {code}')
    return good, '; '.join(words) or 'done'


def run(step, logs):
    """Run one step within its limit; what it prints goes to a file of its name."""
    start, path = time.time(), logs / f'{step.name}.log'
    with open(path, 'w') as log:
        process = subprocess.Popen(
            list(map(str, step.command)), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
            env=os.environ | PATHS | step.environment, start_new_session=True)
        try:
            code = process.wait(step.limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started
            process.wait()
            code = f'not done after {step.limit} s'
    text = path.read_text(errors='replace')
    outcome = Outcome(step.name, *judge(step, code, text), time.time() - start)
    print(f"== {step.name}: {'good' if outcome.good else 'FAILED'}, {outcome.result}, "
          f'{outcome.seconds:.0f} s', flush=True)
    if not outcome.good:
        print('\n'.join(text.splitlines()[-40:]), flush=True)
    return outcome


def run_together(steps, logs):
    """Outcomes of steps that run at the same time, in their order."""
    with ThreadPoolExecutor(max(1, len(steps))) as pool:
        return list(pool.map(lambda step: run(step, logs), steps))


def summary(machine, outcomes):
    """The Markdown of a run."""
    states = {True: 'good', False: '**failed**', None: 'not run'}
    rows = [f'| {o.name} | {states[o.good]} | {o.result} | {o.seconds:.0f} |' for o in outcomes]
    return '\n'.join(['# mmkd.ops on a GPU', '', f'Written by `tools/dev/{Path(__file__).name}`.',
                      '', *[f'- {line}' for line in machine], '',
                      '| step | | result | s |', '|---|---|---|---:|', *rows, ''])


def describe():
    """Lines on this machine: the device, its driver, torch and the toolkits."""
    import torch
    sys.path.insert(0, str(ROOT / 'mmkd' / 'ops'))
    import nvcc
    capability = '.'.join(map(str, torch.cuda.get_device_capability()))
    driver = nvcc.output_of('nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader')
    compiler = nvcc.find()
    release = '.'.join(map(str, nvcc.release(compiler) or ())) if compiler else 'not found'
    return [f'{torch.cuda.get_device_name()}, compute capability {capability}, driver '
            f"{(driver.split() or ['unknown'])[0]}, {os.cpu_count()} CPU cores",
            f'torch {torch.__version__}, CUDA {torch.version.cuda}; nvcc {release}',
            time.strftime('%Y-%m-%d')]


def groups(wanted, out, sanitizer):
    """Lists of steps that run together, of the ``wanted`` names."""
    python = sys.executable
    workers = ['-n', '8'] if importlib.util.find_spec('xdist') else []
    options = sanitizer and subprocess.run([sanitizer, '--help'], capture_output=True, text=True,
                                           check=False).stdout
    every = [
        [Step(f'build-{kind}', [python, 'mmkd/ops/build.py', kind], 240)
         for kind in ('cpu', 'cuda')],
        [Step('tests', pytest_command('tests/ops', '-m', 'not slow', '-v', *workers), 300),
         *(sanitizer_step(tool, sanitizer, options) for tool in SANITIZERS if sanitizer)],
        [Step('benchmark', [python, 'benchmarks/ops.py', '--device', 'cuda', '--out', out], 240)]]
    return [[step for step in group if step.name in wanted] for group in every]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', nargs='+', choices=STEPS, default=STEPS, metavar='STEP',
                        help=', '.join(STEPS))
    parser.add_argument('--limit', type=float, default=float('inf'), metavar='S',
                        help='seconds that a step may take; each has a limit of its own, too')
    parser.add_argument('--out', type=Path, default=ROOT / 'benchmarks' / 'results')
    parser.add_argument('--logs', type=Path, help='folder for what the steps print')
    args = parser.parse_args()
    import torch
    if not torch.cuda.is_available():
        sys.exit('check_ops_on_gpu: torch sees no GPU here')
    machine = describe()
    print('\n'.join(machine), flush=True)
    logs = (args.logs or Path(tempfile.mkdtemp(prefix='check_ops_'))).resolve()
    out = args.out.resolve()
    for folder in (logs, out):
        folder.mkdir(parents=True, exist_ok=True)
    home = os.environ.get('CUDA_HOME', '/usr/local/cuda')
    sanitizer = shutil.which('compute-sanitizer') \
        or shutil.which('compute-sanitizer', path=f'{home}/bin')
    outcomes = []
    for steps in groups(args.only, out, sanitizer):
        outcomes += run_together([step._replace(limit=min(step.limit, args.limit))
                                  for step in steps], logs)
    good = all(outcome.good for outcome in outcomes)
    if not sanitizer:
        outcomes += [Outcome(tool, None, 'compute-sanitizer is not installed', 0.)
                     for tool in SANITIZERS if tool in args.only]
    text = summary(machine, outcomes)
    (out / 'ops_gpu_check.md').write_text(text)
    print(f'{text}\nWhat the steps printed is in {logs}')
    sys.exit(0 if good else 1)


if __name__ == '__main__':
    main()
