"""8 bits and half precision of detectors in 3D: what the files compute beside the float32 one."""
import numpy as np
import onnx
import onnxruntime
import pytest
from mmdeploy.backend.onnxruntime.init_plugins import get_ops_path

from mmkd.deploy.half import to_fp16
from mmkd.deploy.quantize import fed, to_int8
from tests.deploy import test_camera_bev, test_mono3d, test_voxels
from tests.deploy.detectors import DetectorPair
from tests.detectors3d import fcos3d


def bev(folder):
    samples = test_camera_bev.items()[:4]
    return DetectorPair(test_camera_bev.config(), 'bev-detection', folder, samples,
                        test_camera_bev.HEATMAPS), samples


def mono(folder, make=fcos3d):
    return test_mono3d.make(make, folder)


MODELS = dict(pillars=lambda folder: test_voxels.make('pillars', folder),
              centers=lambda folder: test_voxels.make('rotate', folder), mono=mono, bev=bev)


def run(path, inputs):
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(get_ops_path())
    session = onnxruntime.InferenceSession(path, options)
    return {one.name: value for one, value in zip(session.get_outputs(), session.run(None, inputs),
                                                  strict=True)}


def differences(path, smaller, inputs):
    """{branch: norm of its difference in relation to its own, over all levels and inputs}."""
    squares = {}
    for one in inputs:
        wanted, got = run(path, one), run(smaller, one)
        for name, value in wanted.items():
            assert got[name].dtype == value.dtype and got[name].shape == value.shape
            sums = squares.setdefault(name.rstrip('0123456789'), np.zeros(2))
            sums += np.square(got[name] - value).sum(), np.square(value).sum()
    return {branch: float((error / whole) ** .5) for branch, (error, whole) in squares.items()}


@pytest.mark.parametrize('kind', MODELS)
def test_smaller_forms_compute_nearly_the_same(kind, tmp_path):
    pair, items = MODELS[kind](tmp_path)
    inputs = [fed(pair.exported.backend, item) for item in items]
    int8, fp16 = (str(tmp_path / f'{form}.onnx') for form in ('int8', 'fp16'))
    to_int8(pair.path, int8, inputs)
    to_fp16(pair.path, fp16)
    of_int8, of_fp16 = (differences(pair.path, file, inputs) for file in (int8, fp16))
    # Half precision has eleven bits, and errors add up over some twenty layers. In 8 bits, maps of
    # random weights differ more than learned ones; of unrelated maps it would be 1 and more.
    assert 1e-3 < max(of_int8.values()) < 0.5, of_int8
    assert 1e-5 < max(of_fp16.values()) < 1e-2, of_fp16
    # Coordinates of points and geometry of cameras stay as they are.
    graph = onnx.load(int8).graph
    made = {name: node.op_type for node in graph.node for name in node.output}
    assert not [node for node in graph.node if node.op_type in ('MatMul', 'Gemm')
                and made.get(node.input[1]) == 'DequantizeLinear']


def test_deformable_convolutions_stay_float32(tmp_path):
    pair, items = mono(tmp_path, test_mono3d.deformable)
    with pytest.raises(ValueError, match='int8 is not possible.*MMCVModulatedDeformConv2d'):
        to_int8(pair.path, str(tmp_path / 'int8.onnx'), [])
    assert not (tmp_path / 'int8.onnx').exists()
    to_fp16(pair.path, str(tmp_path / 'fp16.onnx'))
    inputs = [fed(pair.exported.backend, item) for item in items]
    assert max(differences(pair.path, str(tmp_path / 'fp16.onnx'), inputs).values()) < 1e-2
