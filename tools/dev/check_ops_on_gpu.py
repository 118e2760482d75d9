"""Build, test, sanitize and time mmkd.ops on a machine with a GPU, in under 10 minutes.

    python tools/dev/check_ops_on_gpu.py [--out DIR]

Needs torch (a CUDA build, 2.10 or newer), numpy, pytest, hypothesis, nvcc and g++; nothing else
of OpenMMLab (tests against mmcv are skipped with the reason printed). Steps:

1. compile the CPU and CUDA kernels;
2. tests/ops on both devices;
3. the fuzz tests of the CUDA kernels under compute-sanitizer, where that is installed;
4. benchmarks/ops.py --device cuda, written to DIR (by default benchmarks/results).

Exits non-zero when a step fails; the later ones still run.
"""
import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def step(name, command, limit, **environment):
    """Run one step within ``limit`` seconds; return whether it went well."""
    print(f'== {name}: {" ".join(map(str, command))}', flush=True)
    start = time.time()
    try:
        code = subprocess.run(list(map(str, command)), cwd=ROOT, timeout=limit, check=False,
                              env=os.environ | environment).returncode
    except subprocess.TimeoutExpired:
        code = f'none after {limit} s'
    print(f'== {name}: exit code {code}, {time.time() - start:.0f} s', flush=True)
    return code == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=ROOT / 'benchmarks' / 'results')
    args = parser.parse_args()
    import torch
    if not torch.cuda.is_available():
        sys.exit('check_ops_on_gpu: torch sees no GPU here')
    print(f'{torch.cuda.get_device_name()}, torch {torch.__version__}, '
          f'CUDA {torch.version.cuda}', flush=True)
    python, pytest = sys.executable, [sys.executable, '-m', 'pytest', '-q', '-p',
                                      'no:cacheprovider']
    good = [step('build cpu', [python, 'mmkd/ops/build.py', 'cpu'], 120),
            step('build cuda', [python, 'mmkd/ops/build.py', 'cuda'], 240),
            step('tests', [*pytest, 'tests/ops', '-m', 'not slow'], 240)]
    home = os.environ.get('CUDA_HOME', '/usr/local/cuda')
    sanitizer = shutil.which('compute-sanitizer') \
        or shutil.which('compute-sanitizer', path=f'{home}/bin')
    if sanitizer:
        # Every example costs kernel launches that the sanitizer slows down: a few each.
        good.append(step('compute-sanitizer', [sanitizer, '--error-exitcode', '66', *pytest,
                                               'tests/ops/fuzz'], 150, MMKD_FUZZ_EXAMPLES='5',
                         PYTORCH_NO_CUDA_MEMORY_CACHING='1'))
    else:
        print('== compute-sanitizer: not installed, not run', flush=True)
    good.append(step('benchmark', [python, 'benchmarks/ops.py', '--device', 'cuda', '--out',
                                   args.out], 180))
    sys.exit(0 if all(good) else 1)


if __name__ == '__main__':
    main()
