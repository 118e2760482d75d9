"""OpenVINO of today behind mmdeploy: parity of static and dynamic exports, int8, refusals."""
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmkd.deploy import openvino_backend
from mmkd.deploy.command import deploy
from mmkd.deploy.openvino_backend import OpenVINOManager, OpenVINOWrapper
from mmkd.deploy.tasks import TASKS
from tests.cli import environment, write_project
from tests.deploy.models import Pair, draw, segmentor_config
from tests.helpers import build, random_bn, tiny_segmentor

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec('openvino') is None,
    reason="OpenVINO is not installed (pip install -e '.[openvino]')")


@needs_openvino
@pytest.mark.parametrize('shape', ['static', 'dynamic'])
def test_segmentors_compute_what_pytorch_does(tmp_path, shape):
    cfg = segmentor_config(tiny_segmentor('PSPHead', pool_scales=(1, 2, 3, 6)))
    task = TASKS['segmentation']
    pair = Pair(cfg, f'segmentation_openvino-{shape}', tmp_path,
                draw(tmp_path / 'a.png', (72, 104)))
    for size in [(72, 104)] + [(88, 136), (40, 64)] * (shape == 'dynamic'):
        data = task.read(cfg, draw(tmp_path / 'b.png', size))
        got = task.compare(pair.pytorch, pair.exported, data)
        assert got['logits'] < 1e-5 and got['equal'] >= 0.999 * got['pixels'], (size, got)


@needs_openvino
def test_the_command_reports_openvino_and_its_int8(tmp_path):
    project = write_project(tmp_path)
    weights = tmp_path / 'student.pth'
    torch.save(dict(state_dict=random_bn(build(
        tiny_segmentor(num_classes=19), 1)).state_dict()), weights)
    report = deploy(project / 'student.py', str(weights), tmp_path / 'out', forms=['int8'],
                    deploy_cfg='segmentation_openvino-static', say=lambda line: None)
    assert report['backend'] == 'openvino' and report['versions']['openvino'][0].isdigit()
    assert report['files'] == ['end2end.xml', 'end2end.bin']
    assert report['variants']['int8']['files'] == ['end2end_int8.xml', 'end2end_int8.bin']
    assert set(report['latency']['seconds']) == {'PyTorch', 'openvino', 'int8'}
    assert {path.name for path in (tmp_path / 'out').iterdir()} >= {
        'end2end.xml', 'end2end.bin', 'end2end.onnx', 'report.md'}


@needs_openvino
def test_an_input_of_another_size_names_both(tmp_path):
    cfg = segmentor_config(tiny_segmentor())
    pair = Pair(cfg, 'segmentation_openvino-static', tmp_path, draw(tmp_path / 'a.png', (40, 64)))
    with pytest.raises(ValueError, match=r'\(1, 3, 48, 64\).*\[1,3,40,64\]'):
        pair.exported.backend.wrapper(dict(input=torch.zeros(1, 3, 48, 64)))


@needs_openvino
def test_float32_stays_float32(tmp_path):
    """OpenVINO writes float16 weights and computes in bfloat16 where it can, unless told not to."""
    pair = Pair(segmentor_config(tiny_segmentor()), 'segmentation_openvino-static', tmp_path,
                draw(tmp_path / 'a.png', (40, 64)))
    compiled = pair.exported.backend.wrapper._compiled
    assert str(compiled.get_property('INFERENCE_PRECISION_HINT')) == "<Type: 'float32'>"
    wrapper = OpenVINOWrapper(str(tmp_path / 'end2end.xml'))
    assert 'f16' not in {op.get_element_type().get_type_name() for op in wrapper._model.get_ops()
                         if op.get_type_name() == 'Constant'}
    assert wrapper.output_names == ['output']
    wrapper.use_threads(1)
    assert wrapper._compiled.get_property('INFERENCE_NUM_THREADS') == 1
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 40, 64))).float()
    torch.testing.assert_close(wrapper(dict(input=image)), pair.exported.backend.wrapper(
        dict(input=image)))


@needs_openvino
def test_a_process_survives_signals_after_models_have_gone(tmp_path):
    """Each Core that went took the stack for signals with it: the end of a data loader's worker
    could kill the process."""
    Pair(segmentor_config(tiny_segmentor()), 'segmentation_openvino-static', tmp_path,
         draw(tmp_path / 'a.png', (40, 64)))
    code = """
import os, signal, sys
from mmkd.deploy.openvino_backend import OpenVINOWrapper
first, second = OpenVINOWrapper(sys.argv[1]), OpenVINOWrapper(sys.argv[1])
del first  # in the order they came
del second
signal.signal(signal.SIGCHLD, lambda *_: print('handled'))
os.kill(os.getpid(), signal.SIGCHLD)
"""
    done = subprocess.run([sys.executable, '-c', code, tmp_path / 'end2end.xml'], text=True,
                          env=environment(), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, 'handled\n'), done.stderr[-2000:]


def test_missing_openvino_says_how_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(openvino_backend.importlib.util, 'find_spec', lambda name: None)
    assert not OpenVINOManager.is_available() and OpenVINOManager.get_version() == 'None'
    with pytest.raises(ModuleNotFoundError, match=r"\.\[openvino\]"):
        OpenVINOManager.to_backend(['a.onnx'], str(tmp_path), None)
