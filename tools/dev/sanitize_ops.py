"""Run the operators' fuzz tests with AddressSanitizer and UndefinedBehaviorSanitizer.

    python tools/dev/sanitize_ops.py [pytest arguments]

Twice: the CPU kernels, and the CUDA sources emulated on the CPU. Exits non-zero when a test
fails or a sanitizer finds something. Needs g++ and its libasan and libubsan.
"""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def runtime(compiler, name):
    """Path of one of the compiler's sanitizer libraries."""
    done = subprocess.run([compiler, f'-print-file-name={name}'], text=True, capture_output=True,
                          check=True)
    path = done.stdout.strip()
    if not os.path.isabs(path):
        sys.exit(f'sanitize: {compiler} has no {name}; install its sanitizer libraries')
    return path


def main():
    sys.path.insert(0, str(ROOT / 'mmkd' / 'ops'))
    import build  # by itself: mmkd.ops would load the operators
    compiler = build.compiler('cpu')
    if compiler is None:
        sys.exit('sanitize: no C++ compiler was found')
    # Built before the libraries are preloaded: the compiler is not to run inside a sanitizer.
    for kind in ('cpu', 'emulated'):
        build.build(kind, sanitize=True)
    environment = os.environ | {
        'LD_PRELOAD': ' '.join(runtime(compiler, f'lib{n}.so')
                               for n in ('asan', 'ubsan', 'stdc++')),
        # Python itself never frees everything; torch's own allocations are not ours to judge.
        'ASAN_OPTIONS': 'detect_leaks=0:abort_on_error=0:exitcode=66',
        'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1:exitcode=66',
        'OMP_NUM_THREADS': '2',
    }
    failed = []
    for choice in ('sanitized', 'sanitized-emulated'):
        print(f'sanitize: tests/ops/fuzz with MMKD_OPS={choice}', flush=True)
        done = subprocess.run(
            # What a sanitizer writes before it ends the process must not be captured; without
            # its kernels (a RuntimeWarning says so) a run would prove nothing.
            [sys.executable, '-W', 'error::RuntimeWarning', '-m', 'pytest', '-q', '--capture=sys',
             '-p', 'no:cacheprovider', *(sys.argv[1:] or ['tests/ops/fuzz'])], cwd=ROOT,
            check=False, env=environment | {'MMKD_OPS': choice})
        if done.returncode:
            failed.append(f'{choice} (exit code {done.returncode})')
    sys.exit(f"sanitize: failed: {', '.join(failed)}" if failed else 0)


if __name__ == '__main__':
    main()
