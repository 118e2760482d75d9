"""What an installed mmkd carries."""
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

import mmkd

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def tracked(folder):
    return subprocess.run(['git', 'ls-files', folder], cwd=ROOT, text=True, check=True,
                          capture_output=True).stdout.split()


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    out, source = tmp_path_factory.mktemp('wheel'), tmp_path_factory.mktemp('source')
    # A copy: a build leaves its folder in the source, and old files in it get into the next.
    for name in tracked('.'):
        os.makedirs(os.path.dirname(source / name), exist_ok=True)
        shutil.copy2(os.path.join(ROOT, name), source / name)
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps',
                    '--no-build-isolation', '-w', str(out), str(source)], check=True)
    return zipfile.ZipFile(next(out.glob('mmkd-*.whl')))


def test_wheel_ships_configs_and_tools_where_mim_looks(wheel):
    names = set(wheel.namelist())
    for shipped in ('configs/_base_/recipes/seg/cwd.py', 'configs/seg/cwd/metafile.yml',
                    'tools/train.py', 'tools/dist_train.sh', 'model-index.yml'):
        assert f'mmkd/.mim/{shipped}' in names
    missing = [name for name in tracked('configs') if f'mmkd/.mim/{name}' not in names]
    assert not missing
    assert not any('/tests/' in name or name.startswith('tests') for name in names)


def test_wheel_requires_the_pins_but_any_newer_torch(wheel):
    metadata = next(n for n in wheel.namelist() if n.endswith('METADATA'))
    requires = [line.partition(': ')[2] for line in wheel.read(metadata).decode().splitlines()
                if line.startswith('Requires-Dist')]
    assert 'torch>=2.13.0' in requires
    assert 'mmengine==0.10.7' in requires
    assert not any(r.startswith(('pytest', 'ruff')) for r in requires)
    assert mmkd.__version__ in metadata


def test_package_imports_without_openmmlab():
    code = ('import sys\n'
            'for name in ("mmengine", "mmcv", "mmseg", "mmdet", "mmdet3d"):\n'
            '    sys.modules[name] = None\n'
            'import mmkd; print(mmkd.__version__)')
    done = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True)
    assert done.stdout.strip() == mmkd.__version__, done.stderr
