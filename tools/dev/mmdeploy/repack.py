"""A build backend that makes mmdeploy installable beside today's onnx and tensorboard.

mmdeploy 1.3.1 declares protobuf<=3.20.2 and works with protobuf 7, which today's onnx and
tensorboard need; pip would refuse it or take those away. The wheel is fetched from the package
index as pip is configured, and packed again: its code stays byte for byte, what changes is that
line of its metadata and the version, which gets the label ``+mmkd``.
"""
import base64
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile

LABEL = '+mmkd'
HERE = os.path.dirname(os.path.abspath(__file__))


def pinned():
    """'mmdeploy==...' of requirements.txt."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
    with open(os.path.join(root, 'requirements.txt')) as file:
        return re.search(r'^mmdeploy==\S+', file.read(), re.MULTILINE)[0]


def fetch(requirement, folder):
    """Download the wheel of a requirement into ``folder``; returns its path."""
    done = subprocess.run([sys.executable, '-m', 'pip', '--disable-pip-version-check', 'download',
                           '-q', '--no-deps', '--only-binary', ':all:', '-d', folder, requirement],
                          check=False)
    if done.returncode:
        sys.exit(f'{requirement} could not be downloaded from the package index; it comes as a '
                 'wheel for x86-64 Linux alone')
    (name,) = os.listdir(folder)
    return os.path.join(folder, name)


def corrected(metadata, version):
    """The METADATA text with the label in its version and protobuf of any version."""
    text = metadata.replace(f'\nVersion: {version}\n', f'\nVersion: {version}{LABEL}\n', 1)
    return re.sub(r'^(Requires-Dist: protobuf) \(<=[\d.]+\)', r'\1', text, flags=re.MULTILINE)


def record_line(name, content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()
    return f'{name},sha256={digest},{len(content)}'


def repack(source, folder):
    """Write the corrected wheel of ``source`` into ``folder``; returns its file name."""
    name, version, *tags = os.path.basename(source).split('-')
    old, new = f'{name}-{version}.dist-info/', f'{name}-{version}{LABEL}.dist-info/'
    target = '-'.join([name, version + LABEL, *tags])
    record = []
    with zipfile.ZipFile(source) as given, \
            zipfile.ZipFile(os.path.join(folder, target), 'w', zipfile.ZIP_DEFLATED) as made:
        for item in given.infolist():
            content = given.read(item)
            if item.filename == f'{old}RECORD':
                continue
            if item.filename == f'{old}METADATA':
                content = corrected(content.decode(), version).encode()
            item.filename = item.filename.replace(old, new)
            made.writestr(item, content)
            record.append(record_line(item.filename, content))
        record.append(f'{new}RECORD,,')
        made.writestr(f'{new}RECORD', '\n'.join(record) + '\n')
    return target


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """What pip calls (PEP 517)."""
    with tempfile.TemporaryDirectory() as folder:
        return repack(fetch(pinned(), folder), wheel_directory)


def build_sdist(sdist_directory, config_settings=None):
    """There is none: mmdeploy comes as a wheel."""
    raise NotImplementedError('mmdeploy comes as a wheel')
