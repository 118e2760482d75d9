"""What the tests of the zoo script share."""
import os

import pytest

from tests.cli import ROOT


@pytest.fixture
def zoo(monkeypatch):
    """tools/dev/zoo.py as a module."""
    for folder in ('tools/dev', 'benchmarks'):
        monkeypatch.syspath_prepend(os.path.join(ROOT, folder))
    import zoo
    return zoo
