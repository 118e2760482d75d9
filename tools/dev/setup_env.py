"""Make the environment that `make demo` and `make test` run in.

Needs Python 3.11 or newer, a C++ compiler and a package index; uses the
standard library alone. Creates the virtual environment, installs the pins of
``requirements.txt``, builds mmcv (once per machine: see ``build_mmcv.py``)
and installs mmkd in editable mode. A second run with the same pins does
nothing. An existing environment is used as it is with ``--venv PATH``: a torch
in it (or in the Python that runs this script) that is as new as the pin is
kept, whatever its build.
"""
import argparse
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools' / 'dev'))
from build_mmcv import mmcv_wheel  # noqa: E402

STAMP = 'mmkd-installed.txt'
TORCH_PROBE = 'import torch; print(torch.__version__)'
MMDEPLOY_PROBE = 'import mmdeploy; print(mmdeploy.__version__)'
MMCV_PROBE = 'import mmcv, mmcv.ops; print(mmcv.__version__)'


def read_pins():
    """The requirement lines of requirements.txt, by package name."""
    lines = (line.split('#')[0].strip()
             for line in (ROOT / 'requirements.txt').read_text().splitlines())
    return {re.split(r'[<>=!~]', line)[0]: line for line in lines if line}


def release(version):
    """'2.13.0+cpu' -> (2, 13, 0), to compare versions by."""
    return tuple(int(n) for n in re.findall(r'\d+', version.split('+')[0])[:3])


def ask(python, code):
    """What ``python -c code`` prints, or None when it fails."""
    done = subprocess.run([python, '-c', code], text=True, capture_output=True)
    return done.stdout.strip() if done.returncode == 0 else None


def is_new_enough(version, pin):
    return version is not None and release(version) >= release(pin.split('==')[1])


def pip_install(python, pins, *args):
    """pip install, with every pin as a constraint: no step may undo another's."""
    with tempfile.NamedTemporaryFile('w', suffix='.txt') as constraints:
        constraints.write('\n'.join(pins.values()))
        constraints.flush()
        subprocess.run([python, '-m', 'pip', '--disable-pip-version-check', 'install', '-q',
                        '-c', constraints.name, *args], check=True)


def make_venv(path, torch_pin):
    """Create the environment; one that sees this Python's torch if that is good."""
    kept = is_new_enough(ask(sys.executable, TORCH_PROBE), torch_pin)
    if kept:
        print(f'setup: keeping the torch that {sys.executable} already has')
    print(f'setup: creating {path}', flush=True)
    venv.create(path, with_pip=True, system_site_packages=kept)


def fingerprint(python):
    """What an installation depends on; a change means: install again."""
    parts = [(ROOT / name).read_bytes() for name in ('requirements.txt', 'setup.py')]
    parts += [str(ROOT).encode(), sys.version.encode(), str(python).encode()]
    return hashlib.sha256(b'\0'.join(parts)).hexdigest()


def install(venv_dir):
    pins = read_pins()
    python = venv_dir / 'bin' / 'python'
    if not python.exists():
        make_venv(venv_dir, pins['torch'])
    stamp = venv_dir / STAMP
    wanted = fingerprint(python)
    if stamp.exists() and stamp.read_text() == wanted:
        return False

    start = time.time()
    python = str(python)
    torch = ask(python, TORCH_PROBE)
    if not is_new_enough(torch, pins['torch']):
        print(f"setup: installing {pins['torch']}", flush=True)
        pip_install(python, pins, pins['torch'])
        torch = ask(python, TORCH_PROBE)
    if torch is None:
        sys.exit('setup: torch was installed but does not import; try '
                 f'`{python} -c "import torch"` to see why')
    pins['torch'] = f"torch=={torch.split('+')[0]}"  # what the rest must keep
    # What mmcv's own setup asks for while it builds.
    pip_install(python, pins, 'setuptools', 'wheel', 'ninja', 'numpy')
    if ask(python, MMCV_PROBE) != pins['mmcv'].split('==')[1]:
        wheel = mmcv_wheel(python, pins['mmcv'])
        pip_install(python, {}, '--force-reinstall', '--no-deps', str(wheel))
    print('setup: installing the other requirements', flush=True)
    deploy = pins.pop('mmdeploy')  # it comes from our own folder
    pip_install(python, pins, *pins.values())
    if ask(python, MMDEPLOY_PROBE) != deploy.split('==')[1]:
        print('setup: installing mmdeploy', flush=True)
        pip_install(python, pins, '--no-build-isolation', str(ROOT / 'tools' / 'dev' / 'mmdeploy'))
    if ask(python, 'import cv2; print(1)') is None:
        # opencv-python links libGL, which a machine without a screen may lack.
        headless = pins['opencv-python'].replace('opencv-python', 'opencv-python-headless')
        pip_install(python, pins, '--force-reinstall', '--no-deps', headless)
    pip_install(python, pins, '--no-deps', '--no-build-isolation', '-e', str(ROOT))
    stamp.write_text(wanted)
    print(f'setup: done in {time.time() - start:.0f} s', flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--venv', type=Path, default=ROOT / '.venv',
                        help='environment to create or to complete (default: .venv)')
    args = parser.parse_args()
    if sys.version_info < (3, 10):
        sys.exit(f'setup: Python 3.10 or newer is needed (3.11 is what we test), not '
                 f"{sys.version.split()[0]}; run e.g. `make PYTHON=python3.11 test`")
    venv_dir = Path(os.path.abspath(args.venv))
    venv_dir.parent.mkdir(parents=True, exist_ok=True)
    # Two makes started together must not install into each other.
    with open(venv_dir.parent / f'.{venv_dir.name}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            install(venv_dir)
        except subprocess.CalledProcessError as error:
            sys.exit(f"setup: `{' '.join(map(str, error.cmd))}` failed with exit code "
                     f'{error.returncode}; what it printed is above')


if __name__ == '__main__':
    main()
