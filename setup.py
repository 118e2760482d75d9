"""Packaging: versions come from requirements.txt, configs and tools ship in mmkd/.mim, the
kernels of mmkd.ops are compiled where a compiler and torch's headers are.

``pip install .`` keeps a torch that is already there: here the pin is a minimum.
"""
import importlib.util
import os
import pathlib
import re
import shutil

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools < 70
    from wheel.bdist_wheel import bdist_wheel

ROOT = os.path.dirname(os.path.abspath(__file__))
SHIPPED = ('configs', 'tools', 'model-index.yml')  # what `mim` looks for


def requirements(section):
    """The lines below ``# section`` in requirements.txt, with torch as a minimum.

    mmdeploy is the folder that packs it: what it declares cannot be installed.
    """
    with open(os.path.join(ROOT, 'requirements.txt')) as file:
        blocks = dict(re.findall(r'^# (\w+).*\n((?:[^#\n].*\n)+)', file.read(), re.MULTILINE))
    folder = pathlib.Path(ROOT, 'tools', 'dev', 'mmdeploy').as_uri()
    lines = [re.sub(r'^torch==', 'torch>=', line) for line in blocks[section].split()]
    return [f'mmdeploy @ {folder}' if line.startswith('mmdeploy==') else line for line in lines]


def version():
    with open(os.path.join(ROOT, 'mmkd', 'version.py')) as file:
        return re.search(r"'(.+)'", file.read())[1]


def readme():
    with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as file:
        return file.read()


def build_kernels(target):
    """Compile mmkd.ops' kernels; copy them to ``target``, or leave them in the cache."""
    # By its path: mmkd cannot be imported where torch is not.
    spec = importlib.util.spec_from_file_location(
        'mmkd_ops_build', os.path.join(ROOT, 'mmkd', 'ops', 'build.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.build_for_install(target)


class BuildMmkd(build_py):
    """Compiles the kernels, and puts configs and tools into mmkd/.mim, where mim expects them:
    copied into a built package, linked into an editable one."""

    def run(self):
        super().run()
        build_kernels(None if self.editable_mode else
                      os.path.join(self.build_lib, 'mmkd', 'ops', 'lib'))
        base = ROOT if self.editable_mode else self.build_lib
        target = os.path.join(base, 'mmkd', '.mim')
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target)
        for name in SHIPPED:
            source = os.path.join(ROOT, name)
            if self.editable_mode:
                os.symlink(os.path.join('..', '..', name), os.path.join(target, name))
            elif os.path.isdir(source):
                shutil.copytree(source, os.path.join(target, name),
                                ignore=shutil.ignore_patterns('__pycache__', 'dev'))
            else:
                shutil.copy2(source, target)


class MmkdDistribution(Distribution):
    """A package with compiled libraries in it goes where platform packages go."""

    def has_ext_modules(self):
        return True


class PlatformWheel(bdist_wheel):
    """The kernels know the machine, but neither Python nor one version of torch."""

    def get_tag(self):
        return 'py3', 'none', super().get_tag()[2]


setup(
    name='mmkd',
    version=version(),
    description='Knowledge distillation for dense prediction and 3D on OpenMMLab',
    long_description=readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmkd', 'mmkd.*']),
    install_requires=requirements('runtime'),
    extras_require=dict(deploy=requirements('deploy'), openvino=requirements('openvino')),
    package_data={'mmkd.ops': ['csrc/*.h', 'csrc/*/*']},
    distclass=MmkdDistribution,
    cmdclass={'build_py': BuildMmkd, 'bdist_wheel': PlatformWheel},
    zip_safe=False,
)
