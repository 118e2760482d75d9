"""The set-up script's decisions, without installing anything."""
import importlib.util
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))


@pytest.fixture(scope='module')
def setup_env():
    spec = importlib.util.spec_from_file_location(
        'setup_env', os.path.join(ROOT, 'tools', 'dev', 'setup_env.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pins_are_those_of_the_requirements_file(setup_env):
    pins = setup_env.read_pins()
    assert pins['torch'].startswith('torch==')
    assert pins['setuptools'] == 'setuptools<81'
    assert {'mmengine', 'mmcv', 'mmsegmentation', 'mmdet', 'mmdet3d', 'numpy', 'ftfy',
            'regex', 'pytest', 'ruff'} <= set(pins)


@pytest.mark.parametrize(('installed', 'kept'), [
    ('2.13.0+cpu', True), ('2.13.0+cu130', True), ('2.14.1', True), ('3.0.0', True),
    ('2.9.1+cu126', False), (None, False)])
def test_a_torch_as_new_as_the_pin_is_kept(setup_env, installed, kept):
    assert setup_env.is_new_enough(installed, 'torch==2.13.0') is kept


def test_mmdeploy_comes_from_the_folder_that_corrects_what_it_declares(
        setup_env, monkeypatch, tmp_path):
    pip = Pip(setup_env, monkeypatch, torch='2.13.0+cpu')
    setup_env.install(fake_venv(tmp_path))
    assert os.path.join(ROOT, 'tools', 'dev', 'mmdeploy') in pip.installed
    assert not any(str(one).startswith('mmdeploy==') for one in pip.installed)
    assert 'protobuf==7.36.2' in pip.installed


class Pip:
    """Stands in for pip and for the probes of a fake environment."""

    def __init__(self, setup_env, monkeypatch, torch, mmcv=None):
        self.installed, self.versions = [], {
            setup_env.TORCH_PROBE: torch, setup_env.MMCV_PROBE: mmcv}
        self.constraints = []
        monkeypatch.setattr(setup_env, 'pip_install', self.install)
        monkeypatch.setattr(setup_env, 'ask', lambda python, code: self.versions.get(code, '1'))
        monkeypatch.setattr(setup_env, 'mmcv_wheel', lambda python, pin: f'wheel of {pin}')

    def install(self, python, pins, *args):
        self.installed += args
        self.constraints.append(pins.get('torch'))
        if any(a.startswith('torch==') for a in args):
            self.versions[next(iter(self.versions))] = '2.13.0+cpu'


def fake_venv(tmp_path):
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'python').touch()
    return tmp_path


def test_a_newer_gpu_torch_is_not_replaced(setup_env, monkeypatch, tmp_path):
    pip = Pip(setup_env, monkeypatch, torch='2.15.0+cu130', mmcv='2.1.0')
    assert setup_env.install(fake_venv(tmp_path)) is True
    torch_lines = {a for a in pip.installed if a.startswith('torch')}
    assert torch_lines <= {'torch==2.15.0'}  # what is there: pip changes nothing
    assert set(pip.constraints) <= {'torch==2.15.0', None}
    assert not any('wheel of' in a for a in pip.installed)  # its mmcv is kept too


def test_an_old_torch_is_upgraded_and_mmcv_built(setup_env, monkeypatch, tmp_path):
    pip = Pip(setup_env, monkeypatch, torch='2.4.0')
    setup_env.install(fake_venv(tmp_path))
    assert 'torch==2.13.0' in pip.installed
    assert 'wheel of mmcv==2.1.0' in pip.installed


def test_the_second_run_installs_nothing(setup_env, monkeypatch, tmp_path):
    pip = Pip(setup_env, monkeypatch, torch='2.13.0+cpu')
    venv = fake_venv(tmp_path)
    assert setup_env.install(venv) is True
    count = len(pip.installed)
    assert setup_env.install(venv) is False
    assert len(pip.installed) == count


def test_a_changed_pin_installs_again(setup_env, monkeypatch, tmp_path):
    pip = Pip(setup_env, monkeypatch, torch='2.13.0+cpu')
    venv = fake_venv(tmp_path)
    setup_env.install(venv)
    (venv / setup_env.STAMP).write_text('of other pins')
    count = len(pip.installed)
    assert setup_env.install(venv) is True
    assert len(pip.installed) > count


def test_missing_compiler_is_told(monkeypatch, tmp_path):
    script = ('import sys; sys.path.insert(0, sys.argv[1]); import build_mmcv; '
              'build_mmcv.mmcv_wheel(sys.executable, "mmcv==2.1.0")')
    done = subprocess.run(
        [sys.executable, '-c', script, os.path.join(ROOT, 'tools', 'dev')], text=True,
        capture_output=True, env=dict(os.environ, MMKD_CACHE=str(tmp_path), CXX='no-such-compiler'))
    assert done.returncode == 1
    assert 'no C++ compiler (no-such-compiler)' in done.stderr
