"""Classes that need mmdet3d are found by name, and imported only then."""
import importlib.util
import subprocess
import sys

import pytest
from mmengine.registry import DATASETS, MODELS, TRANSFORMS

from mmkd import registry

LATER = [(root, name) for root, ours in ((MODELS, registry.MODELS), (DATASETS, registry.DATASETS),
                                         (TRANSFORMS, registry.TRANSFORMS)) for name in ours.later]


def test_importing_the_models_does_not_import_a_library():
    code = ('import sys, mmkd.models, mmkd.datasets\n'
            'print([name for name in ("mmdet3d", "mmdet", "mmseg") if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True, check=True)
    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize('root, name', LATER, ids=[name for _, name in LATER])
def test_each_is_found_by_its_name(root, name):
    assert root.get(f'mmkd.{name}').__name__ == name


@pytest.mark.parametrize('root, name', LATER, ids=[name for _, name in LATER])
def test_without_the_library_it_says_so(root, name, monkeypatch):
    ours = next(r for r in (registry.MODELS, registry.DATASETS, registry.TRANSFORMS)
                if name in r.later)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda _: None)
    monkeypatch.setattr(ours, '_module_dict', {})
    with pytest.raises(ModuleNotFoundError, match=f'mmkd.{name} needs mmdet3d'):
        root.get(f'mmkd.{name}')


def test_names_of_others_are_not_taken():
    assert registry.MODELS.get('mmkd.DepthNet').__name__ == 'DepthNet'
    assert TRANSFORMS.get('mmkd.BEVAug').__name__ == 'BEVAug'
