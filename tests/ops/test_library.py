"""Building, finding and loading the kernels."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmkd.ops import build, has_kernel, knn, library, scatter_points

from .common import DEVICES

ROOT = Path(__file__).resolve().parents[2]


def python(code, **env):
    """Run ``code`` in a new process, from the repository root."""
    return subprocess.run([sys.executable, '-c', code], text=True, capture_output=True, cwd=ROOT,
                          env=os.environ | {'MMKD_OPS': ''} | env, check=False)


def test_the_gpu_half_of_these_tests():
    if not torch.cuda.is_available():
        pytest.skip('no GPU on this machine: the operators are tested on the CPU alone')
    assert has_kernel('voxel_keys', 'cuda')


def test_imports_with_torch_alone():
    done = python('import sys, mmkd.ops; print([m for m in sys.modules if '
                  'm.split(".")[0] in ("mmengine", "mmcv", "mmseg", "mmdet", "mmdet3d")])')
    assert done.stdout.strip() == '[]', done.stderr


@pytest.mark.skipif(build.compiler('cpu') is None, reason='no C++ compiler on this machine')
def test_every_operator_has_a_cpu_kernel():
    done = python('import torch, mmkd.ops as o; names = [n for n in dir(torch.ops.mmkd)]\n'
                  'ops = {s.name.split("::")[1] for s in torch._C._jit_get_all_schemas() '
                  'if s.name.startswith("mmkd::")}\n'
                  'print(len(ops), sorted(n for n in ops if not o.has_kernel(n)))')
    count, missing = done.stdout.strip().split(' ', 1)
    # samples has nothing to do but to find a size.
    assert int(count) > 10 and missing == "['samples']", done.stderr


def test_without_a_compiler_the_reference_runs_and_says_so_once(tmp_path):
    code = ('import torch, mmkd.ops as o; import mmkd.ops.voxels; '
            'i = o.voxel_index(torch.zeros(2, 3), (1, 1, 1), (-1, -1, -1, 1, 1, 1)); '
            'print(i.coors.tolist(), o.has_kernel("voxel_keys"))')
    done = python(code, PATH='', CXX='', CUDA_HOME=str(tmp_path), MMKD_CACHE=str(tmp_path))
    assert done.stdout.strip() == '[[0, 1, 1, 1]] False', done.stderr
    assert done.stderr.count('PyTorch reference') == 1 and 'g++' in done.stderr


def test_a_compiler_that_fails_is_no_crash(tmp_path):
    done = python('import mmkd.ops as o; print(o.has_kernel("voxel_keys"))', CXX='false',
                  PATH=os.path.dirname(shutil.which('false')), MMKD_CACHE=str(tmp_path),
                  CUDA_HOME=str(tmp_path))
    assert done.stdout.strip() == 'False'
    assert '`false' in done.stderr and 'PyTorch reference' in done.stderr
    assert not list(tmp_path.rglob('mmkd_ops_cpu*.so'))


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match='reference'):
        library.wanted_libraries('fast')


@pytest.mark.parametrize(('gpus', 'kinds'), [(0, ['cpu']), (2, ['cpu', 'cuda'])])
def test_cuda_is_compiled_at_the_import_only_where_a_gpu_is(monkeypatch, gpus, kinds):
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    assert [kind for kind, _ in library.wanted_libraries('')] == kinds


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('call', [
    lambda x: scatter_points(x, torch.zeros(2, dtype=torch.int64, device=x.device), 'sum', 2 ** 44),
    lambda x: knn(x, x, 2 ** 42)])
def test_memory_that_runs_out_is_called_so(device, call):
    with pytest.raises(RuntimeError, match='memory') as error:
        call(torch.ones(2, 3, device=device))
    assert 'API call failed' not in str(error.value)
