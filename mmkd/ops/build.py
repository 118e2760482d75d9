"""Compile mmkd's kernels: C++ for the CPU, CUDA where nvcc and a CUDA build of torch are.

    python -m mmkd.ops.build [cpu|cuda|emulated] [--sanitize] [--objects-only]

Standard library only: ``setup.py`` runs this file too, where torch may not be
importable (its headers are enough). A library is named after the hash of its
sources and flags, and kept in ``$MMKD_CACHE`` or ``~/.cache/mmkd``; pip puts a copy
into the package. Kinds:

- ``cpu``: ``csrc/cpu``, the kernels of the CPU.
- ``cuda``: ``csrc/cuda``, compiled by nvcc.
- ``emulated``: ``csrc/cuda`` again, compiled as C++ that runs one thread after the
  other on the CPU; only tests use it, to check the CUDA kernels without a GPU.
"""
import argparse
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE / 'csrc'
PACKAGED = HERE / 'lib'  # where pip puts what it has built
KINDS = ('cpu', 'cuda', 'emulated')
# -ffp-contract=off and -fmad=false: voxel keys and distances must round alike in every
# kernel and in the reference. No -march: a library may move to another machine.
FLAGS = ['-std=c++17', '-DTORCH_TARGET_VERSION=0x020a000000000000', '-O3']
CXX_FLAGS = ['-fPIC', '-fno-math-errno', '-fno-trapping-math', '-ffp-contract=off', '-Wall',
             '-Wextra', '-Wno-unused-parameter', '-fvisibility=hidden']
SANITIZE_FLAGS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined',
                  '-fno-omit-frame-pointer', '-O1', '-g1', '-DMMKD_SANITIZE']
NVCC_FLAGS = ['-fmad=false', '-DUSE_CUDA', '--expt-relaxed-constexpr', '-Xcompiler',
              '-fPIC,-fvisibility=hidden', '-diag-suppress', '20012,20014,177']


class BuildError(RuntimeError):
    """Something needed is missing, or a compiler failed."""


def torch_folder():
    """The folder of the installed torch, also inside pip's isolated build."""
    spec = importlib.util.find_spec('torch')
    if spec is not None and spec.origin:
        return Path(spec.origin).parent
    for place in ('platlib', 'purelib'):
        folder = Path(sysconfig.get_paths()[place]) / 'torch'
        if (folder / 'include').is_dir():
            return folder
    raise BuildError('torch is not installed here, and the kernels need its headers')


def torch_has_cuda():
    """Whether the installed torch is a CUDA build (read, not imported)."""
    namespace = {}
    text = (torch_folder() / 'version.py').read_text()
    exec(text, namespace)  # torch's own file of constants
    return namespace.get('cuda') is not None


def compiler(kind):
    """Path of the compiler for ``kind``, or None."""
    if kind != 'cuda':
        return os.environ.get('CXX') or shutil.which('g++') or shutil.which('clang++')
    home = os.environ.get('CUDA_HOME', '/usr/local/cuda')
    return shutil.which('nvcc') or shutil.which('nvcc', path=os.path.join(home, 'bin'))


def cuda_architectures():
    """nvcc's flags for what the code is compiled for: $TORCH_CUDA_ARCH_LIST ('8.0;9.0+PTX'),
    else the GPUs of this machine, else every major architecture."""
    wanted = os.environ.get('TORCH_CUDA_ARCH_LIST')
    if wanted:
        flags = []
        for arch in wanted.replace(' ', ';').split(';'):
            number = arch.replace('.', '').removesuffix('+PTX')
            flags += ['-gencode', f'arch=compute_{number},code=sm_{number}']
            if arch.endswith('+PTX'):
                flags += ['-gencode', f'arch=compute_{number},code=compute_{number}']
        return flags
    seen = subprocess.run(['nvidia-smi', '-L'], capture_output=True, check=False).returncode \
        if shutil.which('nvidia-smi') else 1
    return ['-arch=native'] if seen == 0 else ['-arch=all-major']


def sources(kind):
    folder, suffix = ('cpu', '*.cpp') if kind == 'cpu' else ('cuda', '*.cu')
    return sorted((CSRC / folder).glob(suffix))


def flags_of(kind, sanitize=False):
    """Everything of the command line that changes the result, the architectures apart."""
    flags = FLAGS + (NVCC_FLAGS if kind == 'cuda' else CXX_FLAGS)
    if kind == 'emulated':
        flags = flags + ['-DMMKD_EMULATE']
    return flags + SANITIZE_FLAGS if sanitize else flags


def file_name(kind, sanitize=False):
    """Name of the library, with the hash of all it is made from."""
    digest = hashlib.sha256(' '.join(flags_of(kind, sanitize)).encode())
    digest.update(platform.machine().encode())
    folder = CSRC / ('cpu' if kind == 'cpu' else 'cuda')
    for path in sorted([*CSRC.glob('*.h'), *(CSRC / 'kernels').glob('*.h'),
                        *folder.iterdir()]):
        digest.update(path.name.encode() + path.read_bytes())
    return f"mmkd_ops_{kind}{'_sanitized' if sanitize else ''}_{digest.hexdigest()[:16]}.so"


def cache_folder():
    return Path(os.environ.get('MMKD_CACHE') or Path.home() / '.cache' / 'mmkd') / 'ops'


def find(kind, sanitize=False):
    """The library if it has been built, else None."""
    name = file_name(kind, sanitize)
    return next((f / name for f in (PACKAGED, cache_folder()) if (f / name).exists()), None)


def run(command):
    """Run a compiler; raise BuildError with what it printed when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"`{' '.join(map(str, command))}` failed:\n{done.stdout}{done.stderr}")
    if done.stderr:
        print(done.stderr, file=sys.stderr)


def compile_objects(kind, folder, sanitize=False):
    """Compile each source of ``kind`` into ``folder``; return the object files."""
    cxx = compiler(kind)
    if cxx is None:
        raise BuildError('no nvcc was found (PATH, $CUDA_HOME/bin)' if kind == 'cuda' else
                         'no C++ compiler was found: install g++ or clang++, or set CXX')
    include = torch_folder() / 'include'
    flags = flags_of(kind, sanitize) + ['-I', str(include)]
    flags += cuda_architectures() if kind == 'cuda' else ['-x', 'c++']
    jobs = [(source, Path(folder) / f'{source.stem}.o') for source in sources(kind)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: run([cxx, *flags, '-c', str(job[0]), '-o', str(job[1])]),
                      jobs))
    return [target for _, target in jobs]


def build(kind, sanitize=False):
    """Return the library of ``kind``, compiled now if it has not been before.

    Raises:
        BuildError: no compiler, no torch, or a source that does not compile.
    """
    found = find(kind, sanitize)
    if found is not None:
        return found
    cache_folder().mkdir(parents=True, exist_ok=True)
    target = cache_folder() / file_name(kind, sanitize)
    # The processes of one training start together; the first builds, the others wait.
    with open(target.with_suffix('.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        start = time.time()
        with tempfile.TemporaryDirectory() as folder:
            objects = compile_objects(kind, folder, sanitize)
            linked = Path(folder) / target.name
            libraries = torch_folder() / 'lib'
            link = [compiler(kind), '-shared', *map(str, objects), '-o', str(linked),
                    '-L', str(libraries), '-ltorch_cpu']
            if kind == 'cuda':
                link += ['-ltorch_cuda', '-lc10_cuda', '-cudart', 'static']
            if sanitize:
                link += ['-fsanitize=address,undefined']
            run(link)
            # Into the cache in one step: a killed build leaves nothing half written.
            beside = target.with_suffix(f'.{os.getpid()}')
            shutil.copyfile(linked, beside)
            os.replace(beside, target)
        print(f'mmkd: compiled its {kind} kernels in {time.time() - start:.0f} s '
              f'({target})', file=sys.stderr)
    return target


def build_for_install(target=None):
    """What pip runs: build what this machine can build, copy it to ``target`` if given.

    Never fails an installation: without a compiler mmkd.ops runs on its PyTorch reference.
    """
    try:
        kinds = ['cpu'] + ['cuda'] * (compiler('cuda') is not None and torch_has_cuda())
        for kind in kinds:
            library = build(kind)
            if target is not None:
                Path(target).mkdir(parents=True, exist_ok=True)
                shutil.copy2(library, target)
    except (BuildError, OSError) as error:
        print(f'mmkd: its compiled kernels were not built, the PyTorch reference will be '
              f'used: {error}', file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('kind', nargs='?', choices=KINDS, default='cpu')
    parser.add_argument('--sanitize', action='store_true',
                        help='with AddressSanitizer and UndefinedBehaviorSanitizer')
    parser.add_argument('--objects-only', action='store_true',
                        help='compile, link and keep nothing: does it compile?')
    args = parser.parse_args()
    try:
        if args.objects_only:
            start = time.time()
            with tempfile.TemporaryDirectory() as folder:
                count = len(compile_objects(args.kind, folder, args.sanitize))
            print(f'{count} {args.kind} sources compiled in {time.time() - start:.0f} s')
        else:
            print(build(args.kind, args.sanitize))
    except BuildError as error:
        sys.exit(f'mmkd.ops.build: {error}')


if __name__ == '__main__':
    main()
