"""Exports run without PyTorch: in mmdeploy's SDK, and with onnxruntime and numpy alone."""
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmkd.deploy.command import deploy
from mmkd.deploy.sdk import dump_sdk
from mmkd.deploy.student import Student
from mmkd.deploy.tasks import predict, task_for
from tests.cli import ROOT, write_project
from tests.deploy.clean_env import sdk_python
from tests.deploy.models import save_weights, segmentor_config
from tests.helpers import tiny_segmentor

EXAMPLE = os.path.join(ROOT, 'docs', 'examples', 'run_onnx_segmentor.py')
#: runs an example where nothing but the standard library, numpy and onnxruntime can be imported
BLOCKED = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {blocked!r}:
            raise ImportError(name + ' must not be needed')
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
assert not set({blocked!r}) & {{name.partition('.')[0] for name in sys.modules}}
"""
FOREIGN = ('torch', 'mmkd', 'mmengine', 'mmcv', 'mmseg', 'mmdet', 'mmdeploy', 'onnx', 'cv2', 'PIL')
IN_SDK = """
import sys
import cv2
import numpy as np
import mmdeploy_runtime
for name in ('torch', 'mmkd', 'mmengine', 'mmcv', 'mmdeploy'):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(name + ' is installed: this environment is not clean')
kind, folder, picture, out = sys.argv[1:]
model = getattr(mmdeploy_runtime, kind)(model_path=folder, device_name='cpu', device_id=0)
found = model(cv2.imread(picture))
if kind == 'Segmentor':
    np.savez(out, mask=found)
else:
    np.savez(out, bboxes=found[0], labels=found[1])
"""


def isolated(python, *args):
    """Run Python without this project's paths; fails with what it printed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith('PYTHON')}
    done = subprocess.run([python, *map(str, args)], capture_output=True, text=True, env=env,
                          cwd=os.path.dirname(os.path.abspath(args[-1])))
    assert done.returncode == 0, done.stdout + done.stderr


def run_in_sdk(kind, folder, picture, out):
    isolated(sdk_python(), '-c', IN_SDK, kind, folder, picture, out)
    return np.load(out)


def pytorch_prediction(config, weights, picture):
    student = Student(config, weights)
    return predict(student.model, task_for(student.model).read(student.cfg, str(picture)))


@pytest.fixture(scope='module')
def segmentor(tmp_path_factory):
    """(config, weights, folder of the export, a picture) of a small segmentor."""
    folder = tmp_path_factory.mktemp('segmentor')
    project = write_project(folder)
    weights = save_weights(tiny_segmentor(num_classes=19), folder / 'student.pth')
    deploy(project / 'student.py', weights, folder / 'out', metric=False, say=lambda line: None)
    pictures = sorted((folder / 'data' / 'leftImg8bit' / 'val').rglob('*.png'))
    return project / 'student.py', weights, folder / 'out', pictures[0]


def test_example_runs_with_onnxruntime_and_numpy_alone(segmentor, tmp_path):
    config, weights, folder, picture = segmentor
    wanted = pytorch_prediction(config, weights, picture).pred_sem_seg.data[0].numpy()
    np.save(tmp_path / 'picture.npy', cv2.imread(str(picture))[..., ::-1])
    isolated(sys.executable, '-c', BLOCKED.format(blocked=FOREIGN), EXAMPLE, folder,
             tmp_path / 'picture.npy', tmp_path / 'mask.npy')
    mask = np.load(tmp_path / 'mask.npy')
    assert mask.shape == wanted.shape and (mask == wanted).mean() >= 0.999
    assert len(np.unique(wanted)) > 2  # else any mask would do

    isolated(sys.executable, '-c', BLOCKED.format(blocked=FOREIGN[:-2]), EXAMPLE, folder, picture,
             tmp_path / 'again.npy')
    assert (np.load(tmp_path / 'again.npy') == mask).all()


def test_example_is_short():
    with open(EXAMPLE, encoding='utf-8') as file:
        lines = [line for line in file.read().split('if __name__')[0].splitlines() if line.strip()]
    assert len(lines) <= 26
    with open(os.path.join(ROOT, 'docs', 'deploy.md'), encoding='utf-8') as file:
        page = file.read()
    assert all(line in page for line in lines[1:]), 'docs/deploy.md shows another example'


def test_example_resizes_as_cv2_does(segmentor, tmp_path):
    """A static export takes one size: pictures of another are resized, masks go back to theirs."""
    sys.path.insert(0, os.path.dirname(EXAMPLE))
    try:
        from run_onnx_segmentor import bilinear, segment
    finally:
        sys.path.pop(0)
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    for height, width in ((20, 31), (32, 64), (11, 17)):
        got = bilinear(height, 20) @ image.transpose(2, 0, 1) @ bilinear(width, 31).T
        wanted = cv2.resize(image.astype(np.float32), (width, height)).transpose(2, 0, 1)
        np.testing.assert_allclose(got, wanted, atol=1e-3)
    assert segment(segmentor[2], image).shape == (20, 31)


@pytest.mark.slow
def test_segmentor_runs_in_the_sdk(segmentor, tmp_path):
    config, weights, folder, picture = segmentor
    got = run_in_sdk('Segmentor', folder, picture, tmp_path / 'found.npz')['mask']
    wanted = pytorch_prediction(config, weights, picture).pred_sem_seg.data[0].numpy()
    assert got.shape == wanted.shape and (got == wanted).mean() >= 0.999


@pytest.mark.parametrize('steps, shape, size', [
    ([], (64, 48), [64, 48]), ([], None, None),
    ([dict(type='LoadAnnotations'), dict(type='Resize', scale=(96, 32), keep_ratio=True)], None,
     [96, 32])])
def test_files_say_how_a_picture_is_prepared(tmp_path, steps, shape, size):
    """mmdeploy insists on a Resize right after loading; where pictures are taken as they are, none
    is written. The caller's configs stay as they are."""
    from mmkd.deploy.export import read_deploy_config
    model = tiny_segmentor()
    cfg = segmentor_config(model)
    cfg.test_pipeline = [cfg.test_pipeline[0], *steps, cfg.test_pipeline[-1]]
    cfg.data_preprocessor = cfg.model.data_preprocessor
    deploy_cfg = read_deploy_config(f"segmentation_onnxruntime-{'static' if shape else 'dynamic'}")
    if shape:
        deploy_cfg.onnx_config.input_shape = list(shape)
    before = cfg.to_dict(), deploy_cfg.to_dict()
    assert dump_sdk(cfg, deploy_cfg, 'weights.pth', str(tmp_path)) is None
    assert (cfg.to_dict(), deploy_cfg.to_dict()) == before
    with open(tmp_path / 'pipeline.json') as file:
        transforms = json.load(file)['pipeline']['tasks'][0]['transforms']
    found = {step['type']: step for step in transforms}
    assert found.get('Resize', {}).get('size') == size
    assert found['Normalize']['mean'] == list(model['data_preprocessor']['mean'])


def test_other_libraries_have_no_sdk(tmp_path):
    cfg = Config(dict(codebase_config=dict(type='mmdet3d', task='VoxelDetection')))
    assert 'mmdet3d' in dump_sdk(Config(), cfg, '', str(tmp_path))
    assert not os.listdir(tmp_path)
