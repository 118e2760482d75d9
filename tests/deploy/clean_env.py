"""An environment with mmdeploy's SDK runtime and nothing of torch, made once per set of pins."""
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

PINS = ('mmdeploy-runtime==1.3.1', 'numpy==1.26.4', 'opencv-python-headless==4.11.0.86')


def sdk_python():
    """Path of the environment's Python; it is kept in ``$MMKD_CACHE`` or ``~/.cache/mmkd``.

    Raises:
        subprocess.CalledProcessError: pip could not install the pins.
    """
    root = Path(os.environ.get('MMKD_CACHE') or Path.home() / '.cache' / 'mmkd')
    key = hashlib.sha256('\n'.join((*PINS, sys.version, sys.prefix)).encode()).hexdigest()[:12]
    folder = root / f'sdk-{key}'
    root.mkdir(parents=True, exist_ok=True)
    with open(root / f'sdk-{key}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / 'ready').exists():
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=True)
            subprocess.run([folder / 'bin' / 'python', '-m', 'pip', 'install', '-q',
                            '--disable-pip-version-check', *PINS], check=True)
            (folder / 'ready').touch()
    return str(folder / 'bin' / 'python')
