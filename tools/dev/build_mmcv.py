"""Build mmcv with its C++ ops from source, once per machine, in about 2 minutes.

mmcv publishes no wheel for a current torch. As it comes, a build on 2 cores
takes 9 minutes, most of it parsing torch's headers 118 times; a precompiled
header parses them once. The wheel is kept outside the clone, under
``$MMKD_CACHE`` or ``~/.cache/mmkd``, in a folder named after what it was built
for.
"""
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

# -g0: the debug information is 30 of the wheel's 32 MB. -fwrapv and -DNDEBUG
# are what Python itself is compiled with and CFLAGS would otherwise drop.
CFLAGS = '-DNDEBUG -g0 -O3 -fwrapv'
HEADER = 'pytorch_cpp_helper.hpp'

PLATFORM_PROBE = """
import platform, sys, torch
cuda = torch.version.cuda if torch.cuda.is_available() else None
print(f"cp{sys.version_info[0]}{sys.version_info[1]}-torch{torch.__version__}-"
      f"{'cuda' + cuda if cuda else 'cpu'}-{platform.machine()}")
"""
INCLUDE_PROBE = """
import sysconfig
from torch.utils.cpp_extension import include_paths
print('\\n'.join([*include_paths(), sysconfig.get_paths()['include']]))
"""


def cache_root():
    fallback = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'mmkd'
    return Path(os.environ.get('MMKD_CACHE') or fallback)


def ask(python, code):
    return subprocess.run([python, '-c', code], text=True, check=True,
                          stdout=subprocess.PIPE).stdout.strip()


def mmcv_wheel(python, pin):
    """The path of an mmcv wheel for ``python``'s torch, built if there is none yet."""
    platform = ask(python, PLATFORM_PROBE)
    folder = cache_root() / pin.replace('==', '-') / platform
    wheels = sorted(folder.glob('mmcv-*.whl'))
    if wheels:
        print(f'setup: {pin} from {wheels[0]}', flush=True)
        return wheels[0]
    compiler = os.environ.get('CXX', 'c++')
    if shutil.which(shlex.split(compiler)[0]) is None:
        sys.exit(f'setup: no C++ compiler ({compiler}) on this machine, and mmcv must be built '
                 'for this torch: install g++ (Debian: apt-get install g++) or set CXX')
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='mmcv-build-') as work:
        built = build(python, pin, Path(work), compiler, with_cuda='-cuda' in platform)
        target = folder / built.name
        partial = target.with_suffix(f'.{os.getpid()}')
        shutil.copy2(built, partial)
        os.replace(partial, target)  # a killed build must not leave half a wheel
    return target


def build(python, pin, work, compiler, with_cuda):
    start = time.time()
    print(f'setup: building {pin} (about 2 minutes on 2 cores, then kept for this machine)',
          flush=True)
    subprocess.run([python, '-m', 'pip', '--disable-pip-version-check', 'download', '-q',
                    '--no-deps', '--no-binary', ':all:', '--no-build-isolation', pin,
                    '-d', str(work)], check=True)
    with tarfile.open(next(work.glob('mmcv-*.tar.gz'))) as archive:
        # Python before 3.11.4 has no filters.
        archive.extractall(work, **({'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}))
    source = next(path for path in work.glob('mmcv-*') if path.is_dir())
    flags = CFLAGS
    if not with_cuda:
        precompile_header(python, source / 'mmcv/ops/csrc/common', compiler)
        flags += f' -include {HEADER}'
    env = dict(os.environ, CFLAGS=flags, MMCV_WITH_OPS='1',
               FORCE_CUDA='1' if with_cuda else '0',
               MAX_JOBS=os.environ.get('MAX_JOBS', str(os.cpu_count() or 1)))
    log = work / 'build.log'
    command = [python, '-m', 'pip', '--disable-pip-version-check', 'wheel', '-v', '--no-deps',
               '--no-build-isolation', '-w', str(work / 'out'), str(source)]
    run_with_progress(command, env, log)
    wheel = next((work / 'out').glob('mmcv-*.whl'))
    print(f'setup: built {wheel.name} in {time.time() - start:.0f} s', flush=True)
    return wheel


def precompile_header(python, folder, compiler):
    """Compile the header that every op includes, with exactly the build's flags."""
    includes = [flag for path in [str(folder), *ask(python, INCLUDE_PROBE).split('\n')]
                for flag in ('-I', path)]
    command = [*shlex.split(compiler), *shlex.split(CFLAGS), '-fPIC', *includes,
               '-DTORCH_API_INCLUDE_EXTENSION_H', '-DTORCH_EXTENSION_NAME=_ext', '-std=c++17',
               '-x', 'c++-header', str(folder / HEADER), '-o', str(folder / f'{HEADER}.gch')]
    # Without it the build is slower and just as good, so a failure is no error.
    if subprocess.run(command, capture_output=True).returncode:
        print('setup: no precompiled header with this compiler; the build takes longer',
              flush=True)


def run_with_progress(command, env, log):
    """Run the build, show one line with steps done and time left, keep the rest in ``log``."""
    start, shown = time.time(), 0.
    with open(log, 'w') as out, subprocess.Popen(
            command, env=env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            out.write(line)
            step = re.match(r'\s*\[(\d+)/(\d+)\]', line)
            if step:
                done, total = map(int, step.groups())
                now = time.time()
                if now - shown > 5 or done == total:
                    shown = now
                    left = (now - start) / done * (total - done)
                    print(f'setup: mmcv {done}/{total} files, about {left:.0f} s left', flush=True)
    if process.returncode:
        tail = ''.join(log.read_text().splitlines(keepends=True)[-40:])
        sys.exit(f'{tail}\nsetup: mmcv did not build (exit code {process.returncode}); '
                 'the end of its output is above')
