"""Compiling the kernels: for which GPUs, by which compilers, under which names."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmkd.ops import build, nvcc

ROOT = Path(__file__).resolve().parents[2]
needs_compiler = pytest.mark.skipif(build.compiler('cpu') is None,
                                    reason='no C++ compiler on this machine')


def script(path, text):
    """An executable that stands in for a tool."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def toolkit(tmp_path, monkeypatch):
    """toolkit('12.8', known): a CUDA toolkit of that release is the one that is found."""
    monkeypatch.delenv('TORCH_CUDA_ARCH_LIST', raising=False)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    script(tmp_path / 'nvidia-smi', 'exit 9')

    def make(release, known='75 80 90 100'):
        home = tmp_path / f'cuda-{release}'
        archs = ' '.join(f'compute_{n}' for n in known.split())
        path = script(home / 'bin' / 'nvcc', f"""case "$1" in
--version) echo "Cuda compilation tools, release {release}, V{release}.1" ;;
--list-gpu-arch) printf '%s\\n' {archs} ;;
*) echo "$@" >> {home}/calls
   while [ "$1" != -o ]; do shift; done
   echo made > "$2" ;;
esac""")
        monkeypatch.setenv('CUDA_HOME', str(home))
        return str(path)
    return make


@pytest.fixture
def cards(tmp_path, toolkit):
    """cards('8.0', '9.0'): what nvidia-smi says of this machine's GPUs."""
    def set_(*capabilities):
        lines = '\\n'.join(f'{c}, 580.65.06' for c in capabilities)
        script(tmp_path / 'nvidia-smi', f"printf '{lines}\\n'")
    return set_


def test_the_name_follows_the_sources(monkeypatch, tmp_path):
    before = build.file_name('cpu')
    assert before == build.file_name('cpu') != build.file_name('cpu', sanitize=True)
    shutil.copytree(build.CSRC, tmp_path / 'csrc')
    monkeypatch.setattr(build, 'CSRC', tmp_path / 'csrc')
    assert build.file_name('cpu') == before
    with open(tmp_path / 'csrc' / 'kernels' / 'voxel_keys.h', 'a') as file:
        file.write('// a change\n')
    assert build.file_name('cpu') != before


def test_machines_that_differ_do_not_share_a_cuda_library(toolkit, cards, monkeypatch):
    """A home that an A100 and an H100 see, or toolkits of two releases."""
    def name():
        return build.file_name('cuda')

    toolkit('13.0')
    names = {name()}
    for capabilities in (['8.0'], ['9.0'], ['8.0', '9.0']):
        cards(*capabilities)
        names.add(name())
        assert name() in names
    for wanted in ('7.5', '8.0', '9.0a', '8.0+PTX'):
        monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', wanted)
        names.add(name())
    assert len(names) == 4 + 3  # '8.0' is what the first card is compiled for, too
    toolkit('13.1')
    names.add(name())
    monkeypatch.setenv('NVCC_CCBIN', str(script(Path(os.environ['CUDA_HOME']) / 'gcc',
                                                'echo another host compiler')))
    names.add(name())
    assert len(names) == 9
    assert all(n.startswith(build.name_of_sources('cuda')) for n in names)


def test_the_host_compiler_is_in_the_name_of_the_cpu_library(tmp_path, monkeypatch):
    before = build.file_name('cpu')
    monkeypatch.setenv('CXX', str(script(tmp_path / 'cxx', 'echo "g++ 99.1"')))
    assert build.file_name('cpu') != before
    assert build.file_name('cpu').startswith(build.name_of_sources('cpu'))


@pytest.mark.parametrize('wanted, expected', [
    ('8.0', ['sm_80', 'compute_80']),
    ('9.0;8.0', ['sm_80', 'sm_90', 'compute_90']),
    ('8.0 12.0 9.0', ['sm_80', 'sm_90', 'sm_120', 'compute_120']),
    ('8.0+PTX;9.0', ['sm_80', 'compute_80', 'sm_90', 'compute_90']),
    ('9.0+PTX,9.0', ['sm_90', 'compute_90']),
    ('8.0;9.0a', ['sm_80', 'sm_90a', 'compute_90']),
])
def test_ptx_of_the_newest_is_always_there(toolkit, monkeypatch, wanted, expected):
    path = toolkit('13.0')
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', wanted)
    flags = nvcc.architecture_flags(nvcc.architectures(path))
    assert flags[::2] == ['-gencode'] * len(expected)
    assert [flag.split('code=')[1] for flag in flags[1::2]] == expected
    assert all(flag.startswith('arch=compute_' + code.split('_')[1])
               for flag, code in zip(flags[1::2], expected, strict=True))


@pytest.mark.parametrize('seen, expected', [
    ([], ['all-major']), (['9.0'], ['9.0']), (['9.0', '8.0', '9.0'], ['8.0', '9.0']),
    (['8.6'], ['8.0']), (['12.1'], ['10.0']), (['7.0', '9.0'], ['9.0'])])
def test_the_gpus_of_this_machine(toolkit, cards, seen, expected):
    """One that nvcc does not know yet gets the newest before it, whose PTX it runs."""
    path = toolkit('13.0')
    if seen:
        cards(*seen)
    assert nvcc.architectures(path) == expected
    assert expected != ['all-major'] or nvcc.architecture_flags(expected) == ['-arch=all-major']


@pytest.mark.parametrize('wanted', ['sm_90', '90', 'Hopper', '9.0;x', '9.0-PTX', 'native'])
def test_what_is_no_list_of_architectures_is_refused(toolkit, monkeypatch, wanted):
    path = toolkit('13.0')
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', wanted)
    with pytest.raises(nvcc.BuildError, match=r"TORCH_CUDA_ARCH_LIST .*'9\.0\+PTX'"):
        nvcc.architectures(path)


def test_gpus_that_are_too_old_for_nvcc_are_named(toolkit, cards):
    path = toolkit('13.0')
    cards('6.1', '7.0')
    with pytest.raises(nvcc.BuildError, match='7.5 and newer, the GPUs here have 6.1, 7.0'):
        nvcc.architectures(path)


@pytest.mark.parametrize('release, of_torch, fits', [
    ('13.0', '13.0', True), ('12.9', '12.1', True), ('12.1', '12.9', True),
    ('13.0', '12.8', False), ('11.8', '12.1', False), ('13.0', None, False)])
def test_nvcc_must_be_of_torchs_major_version(toolkit, monkeypatch, tmp_path, release, of_torch,
                                              fits):
    path = toolkit(release)
    monkeypatch.setenv('MMKD_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(build, 'cuda_of_torch', lambda: of_torch)
    if fits:
        assert build.build('cuda').read_text() == 'made\n'
        calls = (Path(path).parents[1] / 'calls').read_text()
        assert calls.count('-arch=all-major') == len(build.sources('cuda'))
    else:
        told = 'build for the CPU' if of_torch is None else \
            rf'CUDA {release}, but torch was built for CUDA {of_torch}: set CUDA_HOME to a ' \
            rf'toolkit of CUDA {of_torch[:2]}'
        with pytest.raises(nvcc.BuildError, match=told):
            build.build('cuda')
        assert not list(tmp_path.rglob('*.so'))


def test_cuda_home_comes_before_the_path(toolkit, monkeypatch, tmp_path):
    """What the message about two versions of CUDA says must help."""
    other = script(tmp_path / 'nvcc', 'echo release 11.0')
    assert nvcc.release(toolkit('12.8')) == (12, 8) and nvcc.release(nvcc.find()) == (12, 8)
    monkeypatch.delenv('CUDA_HOME')
    assert nvcc.find() == str(other) and nvcc.release(str(other)) == (11, 0)


@needs_compiler
def test_a_built_library_is_found_again_and_copied_for_pip(monkeypatch, tmp_path):
    library_path = build.build('cpu')
    monkeypatch.setattr(build, 'compile_objects', lambda *a: pytest.fail('compiled again'))
    assert build.build('cpu') == library_path == build.find('cpu')[0]
    monkeypatch.setattr(build, 'cuda_of_torch', lambda: None)
    build.build_for_install(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [library_path.name]


def test_what_pip_brought_serves_a_machine_with_another_compiler(monkeypatch, tmp_path):
    """And where no compiler is, what another machine has put into the shared cache."""
    monkeypatch.setattr(build, 'PACKAGED', tmp_path / 'lib')
    monkeypatch.setenv('MMKD_CACHE', str(tmp_path))
    for folder in (build.PACKAGED, build.cache_folder()):
        folder.mkdir()
        (folder / f"{build.name_of_sources('cpu')}_other.so").touch()
        (folder / f"{build.name_of_sources('cuda')}_other.so").touch()
        (folder / 'mmkd_ops_cpu_0123_old.so').touch()
    assert [p.parent for p in build.find('cpu')] == [build.PACKAGED]
    own = build.cache_folder() / build.file_name('cpu')
    own.touch()
    assert build.find('cpu')[0] == own
    monkeypatch.setattr(build, 'compiler', lambda kind: None)
    found = build.find('cuda')
    assert [p.parent for p in found] == [build.PACKAGED, build.cache_folder()]
    assert build.build('cuda', why_not=lambda p: 'bad' if p == found[0] else None) == found[1]
    with pytest.raises(build.BuildError, match='does not run here .wrong GPU.'):
        build.build('cuda', why_not=lambda p: 'wrong GPU')


def test_a_library_that_does_not_run_here_is_compiled_anew(monkeypatch, tmp_path):
    monkeypatch.setattr(build, 'PACKAGED', tmp_path)
    monkeypatch.setenv('MMKD_CACHE', str(tmp_path / 'cache'))
    brought = tmp_path / f"{build.name_of_sources('cpu')}_other.so"
    brought.touch()
    monkeypatch.setattr(build, 'compile_library', lambda kind, sanitize, name: tmp_path / name)
    assert build.build('cpu', why_not=lambda p: None) == brought
    assert build.build('cpu', why_not=lambda p: 'no' if p == brought else None) == \
        tmp_path / build.file_name('cpu')
    with pytest.raises(build.BuildError, match='other.so does not run here .no.; .* .no.'):
        build.build('cpu', why_not=lambda p: 'no')


def test_warnings_of_a_compiler_are_shown(tmp_path, capfd):
    build.run([script(tmp_path / 'cxx', 'echo a warning >&2; echo another')])
    assert capfd.readouterr().err == 'another\na warning\n\n'


@pytest.mark.slow
@pytest.mark.skipif(build.compiler('cuda') is None, reason='no nvcc on this machine: the CUDA '
                    'sources were not compiled, only their emulation')
def test_cuda_sources_compile_without_a_warning():
    assert not [flag for flag in nvcc.FLAGS if 'suppress' in flag or flag == '-w']
    done = subprocess.run([sys.executable, 'mmkd/ops/build.py', 'cuda', '--objects-only'],
                          env=os.environ | {'TORCH_CUDA_ARCH_LIST': '8.0;9.0'}, cwd=ROOT,
                          text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f'{len(build.sources("cuda"))} cuda sources compiled' in done.stdout
    assert done.stderr == ''
