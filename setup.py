"""Packaging: versions come from requirements.txt, configs and tools ship in mmkd/.mim.

``pip install .`` keeps a torch that is already there: here the pin is a minimum.
"""
import os
import re
import shutil

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = os.path.dirname(os.path.abspath(__file__))
SHIPPED = ('configs', 'tools', 'model-index.yml')  # what `mim` looks for


def requirements():
    """The runtime lines of requirements.txt, with torch as a minimum."""
    with open(os.path.join(ROOT, 'requirements.txt')) as file:
        runtime = file.read().split('# tests')[0]
    lines = [line.split('#')[0].strip() for line in runtime.splitlines()]
    return [re.sub(r'^torch==', 'torch>=', line) for line in lines if line]


def version():
    with open(os.path.join(ROOT, 'mmkd', 'version.py')) as file:
        return re.search(r"'(.+)'", file.read())[1]


def readme():
    with open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as file:
        return file.read()


class BuildWithMim(build_py):
    """Puts configs and tools into mmkd/.mim, where mim expects them: copied into a built
    package, linked into an editable one."""

    def run(self):
        super().run()
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


setup(
    name='mmkd',
    version=version(),
    description='Knowledge distillation for dense prediction and 3D on OpenMMLab',
    long_description=readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmkd', 'mmkd.*']),
    install_requires=requirements(),
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
