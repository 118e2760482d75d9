"""Detectors of mmdet3d, and mmkd's own of cameras, in OpenVINO: PyTorch's boxes."""
import importlib.util

import pytest

from tests.deploy import test_camera_bev, test_mono3d, test_voxels
from tests.deploy.detectors import DetectorPair

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('openvino') is None,
    reason="OpenVINO is not installed (pip install -e '.[openvino]')")


def test_pillars(tmp_path):
    test_voxels.make('rotate', tmp_path, ending='_openvino')[0].assert_same(least=10)


def test_single_images(tmp_path):
    test_mono3d.make(test_mono3d.fcos3d, tmp_path, ending='_openvino')[0].assert_same()


def test_cameras(tmp_path):
    view = dict(depth_net=dict(test_camera_bev.DEPTH_NET['depth_net'], dcn=False))
    DetectorPair(test_camera_bev.config(**view), 'bev-detection', tmp_path, test_camera_bev.items(),
                 test_camera_bev.HEATMAPS, ending='_openvino').assert_same(least=10)
