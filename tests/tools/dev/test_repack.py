"""mmdeploy's wheel packed again: the same code, a version with a label, protobuf of any version."""
import base64
import hashlib
import importlib.util
import os
import zipfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
METADATA = """Metadata-Version: 2.1
Name: mmdeploy
Version: 1.3.1
Requires-Dist: onnx (>=1.13.0)
Requires-Dist: protobuf (<=3.20.2)
Requires-Dist: protobuf (<=3.20.2) ; extra == 'all'

Version: 1.3.1
"""


@pytest.fixture(scope='module')
def repack():
    spec = importlib.util.spec_from_file_location(
        'repack', os.path.join(ROOT, 'tools', 'dev', 'mmdeploy', 'repack.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_metadata_changes(repack, tmp_path):
    files = {'mmdeploy/__init__.py': b'x = 1\n', 'mmdeploy/lib/ops.so': bytes(range(256)),
             'mmdeploy-1.3.1.dist-info/METADATA': METADATA.encode(),
             'mmdeploy-1.3.1.dist-info/RECORD': b'old'}
    source = tmp_path / 'mmdeploy-1.3.1-py3-none-any.whl'
    with zipfile.ZipFile(source, 'w') as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    (tmp_path / 'out').mkdir()
    name = repack.repack(str(source), str(tmp_path / 'out'))
    assert name == 'mmdeploy-1.3.1+mmkd-py3-none-any.whl'
    made = zipfile.ZipFile(tmp_path / 'out' / name)
    for name in ('mmdeploy/__init__.py', 'mmdeploy/lib/ops.so'):
        assert made.read(name) == files[name]
    assert made.read('mmdeploy-1.3.1+mmkd.dist-info/METADATA').decode() == METADATA.replace(
        'protobuf (<=3.20.2)', 'protobuf').replace('Version: 1.3.1', 'Version: 1.3.1+mmkd', 1)
    record = made.read('mmdeploy-1.3.1+mmkd.dist-info/RECORD').decode().splitlines()
    assert {line.split(',')[0] for line in record} == set(made.namelist())
    for line in record:
        name, digest, size = line.split(',')
        if digest:
            content = made.read(name)
            sha = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()
            assert digest == f'sha256={sha}' and int(size) == len(content)


def test_the_pin_is_that_of_the_requirements_file(repack):
    assert repack.pinned() in open(os.path.join(ROOT, 'requirements.txt')).read().split()
