"""Detectors and instance segmentors in OpenVINO: PyTorch's boxes, for images of any size."""
import importlib.util

import pytest

from tests.deploy.test_detection import make

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('openvino') is None,
    reason="OpenVINO is not installed (pip install -e '.[openvino]')")


@pytest.mark.parametrize('kind', ['retinanet', 'gfl', 'faster', 'mask'])
def test_boxes_are_those_of_pytorch(kind, tmp_path):
    make(kind, tmp_path, [(200, 144), (320, 200)], ending='_openvino-dynamic').assert_same()


def test_a_static_export_has_one_size(tmp_path):
    make('mask', tmp_path, [(160, 128)], keep_ratio=False, ending='_openvino-static',
         size=(160, 128)).assert_same()
