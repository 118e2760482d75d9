"""Compile mmkd's kernels: C++ for the CPU, CUDA where nvcc and a CUDA build of torch are.

    python -m mmkd.ops.build [cpu|cuda|emulated] [--sanitize] [--objects-only]

Standard library only: ``setup.py`` runs this file too, where torch may not be
importable (its headers are enough). A library is named after two hashes, of its sources
and flags, and of what compiled it for which GPUs: machines that differ may share a home.
It is kept in ``$MMKD_CACHE`` or ``~/.cache/mmkd``; pip puts a copy into the package.
Kinds:

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
if not __package__:  # run as a file, by setup.py too
    sys.path.insert(0, str(HERE))
    import nvcc
    sys.path.remove(str(HERE))
else:
    from . import nvcc
BuildError = nvcc.BuildError
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


def cuda_of_torch():
    """'12.8' if the installed torch is a build for it, None for the CPU (read, not imported)."""
    namespace = {}
    text = (torch_folder() / 'version.py').read_text()
    exec(text, namespace)  # torch's own file of constants
    return namespace.get('cuda')


def compiler(kind):
    """Path of the compiler for ``kind``, or None."""
    if kind == 'cuda':
        return nvcc.find()
    return os.environ.get('CXX') or shutil.which('g++') or shutil.which('clang++')


def sources(kind):
    folder, suffix = ('cpu', '*.cpp') if kind == 'cpu' else ('cuda', '*.cu')
    return sorted((CSRC / folder).glob(suffix))


def flags_of(kind, sanitize=False):
    """Everything of the command line that changes the result, the GPUs apart."""
    flags = FLAGS + (nvcc.FLAGS if kind == 'cuda' else CXX_FLAGS)
    if kind == 'emulated':
        flags = flags + ['-DMMKD_EMULATE']
    return flags + SANITIZE_FLAGS if sanitize else flags


def name_of_sources(kind, sanitize=False):
    """What the name of every library of these sources, for this processor, begins with."""
    digest = hashlib.sha256(' '.join(flags_of(kind, sanitize)).encode())
    digest.update(platform.machine().encode())
    folder = CSRC / ('cpu' if kind == 'cpu' else 'cuda')
    for path in sorted([*CSRC.glob('*.h'), *(CSRC / 'kernels').glob('*.h'),
                        *folder.iterdir()]):
        digest.update(path.name.encode() + path.read_bytes())
    return f"mmkd_ops_{kind}{'_sanitized' if sanitize else ''}_{digest.hexdigest()[:12]}"


def file_name(kind, sanitize=False):
    """Name of the library that this machine's compiler makes for this machine's GPUs."""
    cxx = compiler(kind)
    made_by = [nvcc.output_of(cxx, '--version')] if cxx else []
    if kind == 'cuda' and cxx:
        host = os.environ.get('NVCC_CCBIN', 'g++')
        made_by += [nvcc.output_of(host, '--version'), *nvcc.architectures(cxx)]
    digest = hashlib.sha256('\n'.join(made_by).encode()).hexdigest()[:12]
    return f'{name_of_sources(kind, sanitize)}_{digest}.so'


def cache_folder():
    return Path(os.environ.get('MMKD_CACHE') or Path.home() / '.cache' / 'mmkd') / 'ops'


def find(kind, sanitize=False, own=None):
    """Libraries of these sources, the best first: this machine's ``own`` (its file_name), what
    pip brought, and where no compiler is, whatever is in the cache."""
    own = own or file_name(kind, sanitize)
    others = f'{name_of_sources(kind, sanitize)}_*.so'
    paths = [PACKAGED / own, cache_folder() / own, *sorted(PACKAGED.glob(others))]
    if compiler(kind) is None:
        paths += sorted(cache_folder().glob(others))
    return [path for path in dict.fromkeys(paths) if path.exists()]


def run(command):
    """Run a compiler and show its warnings; raise BuildError with what it printed if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"`{' '.join(map(str, command))}` failed:\n{done.stdout}{done.stderr}")
    if done.stdout + done.stderr:
        print(done.stdout + done.stderr, file=sys.stderr)


def compile_objects(kind, folder, sanitize=False):
    """Compile each source of ``kind`` into ``folder``; return the object files."""
    cxx = compiler(kind)
    if cxx is None:
        raise BuildError('no nvcc was found (PATH, $CUDA_HOME/bin)' if kind == 'cuda' else
                         'no C++ compiler was found: install g++ or clang++, or set CXX')
    include = torch_folder() / 'include'
    flags = flags_of(kind, sanitize) + ['-I', str(include)]
    flags += (nvcc.architecture_flags(nvcc.architectures(cxx)) if kind == 'cuda' else
              ['-x', 'c++'])
    jobs = [(source, Path(folder) / f'{source.stem}.o') for source in sources(kind)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: run([cxx, *flags, '-c', str(job[0]), '-o', str(job[1])]),
                      jobs))
    return [target for _, target in jobs]


def build(kind, sanitize=False, why_not=lambda library: None):
    """Return the library of ``kind``, compiled now if it has not been before.

    Args:
        why_not: says of a library (a path) why it does not run here, None if it does.

    Raises:
        BuildError: no compiler, no torch or one for another CUDA, a source that does not
            compile, or a library that does not run here.
    """
    own, wrong = file_name(kind, sanitize), {}
    for library in find(kind, sanitize, own):
        wrong[library.name] = why_not(library)
        if wrong[library.name] is None:
            return library
    if own not in wrong and (compiler(kind) or not wrong):
        target = compile_library(kind, sanitize, own)
        wrong[own] = why_not(target)
        if wrong[own] is None:
            return target
    raise BuildError('; '.join(f'{name} does not run here ({why})' for name, why in wrong.items()))


def compile_library(kind, sanitize, name):
    """Compile and link into the cache as ``name``; return the path."""
    if kind == 'cuda' and compiler(kind):
        nvcc.check_release(compiler(kind), cuda_of_torch())
    cache_folder().mkdir(parents=True, exist_ok=True)
    target = cache_folder() / name
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
        kinds = ['cpu'] + ['cuda'] * (compiler('cuda') is not None and cuda_of_torch() is not None)
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
