"""What an installed mmkd carries."""
import os
import re
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


@pytest.mark.skipif(not (shutil.which('g++') or shutil.which('clang++')),
                    reason='no C++ compiler on this machine')
def test_wheel_brings_its_kernels_to_a_machine_without_a_compiler(wheel, tmp_path):
    names = [os.path.basename(name) for name in wheel.namelist()]
    assert sum(name.startswith('mmkd_ops_cpu_') for name in names) == 1
    assert {'common.h', 'voxel_index.cpp', 'voxel_index.cu'} <= set(names)
    assert '-py3-none-linux_' in wheel.filename or sys.platform != 'linux'
    wheel.extractall(tmp_path)
    code = 'import mmkd.ops as o; print(o.__file__, o.has_kernel("voxel_keys"))'
    done = subprocess.run(
        [sys.executable, '-c', code], text=True, capture_output=True, cwd=tmp_path, check=False,
        env=os.environ | {'PATH': '', 'CXX': '', 'MMKD_CACHE': str(tmp_path / 'none'),
                          'MMKD_OPS': '', 'PYTHONPATH': str(tmp_path)})
    assert done.stdout.split() == [str(tmp_path / 'mmkd' / 'ops' / '__init__.py'), 'True'], \
        done.stderr


def test_wheel_requires_the_pins_but_any_newer_torch(wheel):
    metadata = next(n for n in wheel.namelist() if n.endswith('METADATA'))
    requires = [line.partition(': ')[2] for line in wheel.read(metadata).decode().splitlines()
                if line.startswith('Requires-Dist')]
    assert 'torch>=2.13.0' in requires
    assert 'mmengine==0.10.7' in requires
    assert not any(r.startswith(('pytest', 'ruff')) for r in requires)
    extra = [r for r in requires if 'extra ==' in r]
    assert {re.match(r'\w+', r)[0] for r in extra} == {
        'mmdeploy', 'onnx', 'onnxruntime', 'protobuf', 'ml_dtypes', 'openvino'}
    assert any(r.startswith('mmdeploy @ file://') for r in extra)
    assert mmkd.__version__ in metadata


def test_package_imports_without_openmmlab():
    code = ('import sys\n'
            'for name in ("mmengine", "mmcv", "mmseg", "mmdet", "mmdet3d"):\n'
            '    sys.modules[name] = None\n'
            'import mmkd; print(mmkd.__version__)')
    done = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True)
    assert done.stdout.strip() == mmkd.__version__, done.stderr
