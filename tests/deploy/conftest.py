"""Tests of mmkd.deploy need mmdeploy; where it is missing, each file says so and is skipped."""
import importlib.util

import pytest


class _Skipped(pytest.Module):
    def collect(self):
        pytest.skip("mmdeploy is not installed (pip install -e '.[deploy]')",
                    allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    if importlib.util.find_spec('mmdeploy') is None:
        return _Skipped.from_parent(parent, path=module_path)
    return None
