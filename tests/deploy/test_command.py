"""tools/deploy.py, run as a user runs it: what it writes, and every refusal."""
import json
import os
import resource
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from tests.cli import Here, command, environment, message_of, write_project
from tests.deploy.models import draw, save_weights

STATIC, DYNAMIC = 'segmentation_onnxruntime-static', 'segmentation_onnxruntime-dynamic'


@pytest.fixture
def here(monkeypatch, capfd):
    return Here(monkeypatch, capfd)


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """Configs, data and checkpoints: of a distillation, of its student and of its teacher."""
    folder = write_project(tmp_path_factory.mktemp('deploy'))
    student = Config.fromfile(folder / 'student.py').model
    save_weights(student, folder / 'student.pth')
    state = torch.load(folder / 'student.pth')['state_dict']
    torch.save(dict(state_dict={**state, 'distiller.x': torch.ones(1)}, meta=dict(iter=1)),
               folder / 'trained.pth')
    return folder


def left(folder):
    """What lies in a folder, hidden or not."""
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_a_distillations_student(project, here, tmp_path):
    out = tmp_path / 'new' / 'out'
    text, _ = here.run('deploy.py', 'distill.py', 'trained.pth', '--out', out, '--threads', '1',
                       cwd=project)
    report = json.loads((out / 'report.json').read_text())
    assert left(out) == sorted(['end2end.onnx', 'report.json', 'report.md', *report['sdk']])
    assert left(out.parent) == ['out'] and (out / 'report.md').read_text().strip() in text
    assert report['deploy_config'] == STATIC and report['input'].startswith('32 x 64')
    assert [one['ok'] for one in report['parity']['checks']] == [True, True]
    assert report['parity']['samples'] == 2
    model = torch.load(project / 'student.pth')['state_dict']
    weights = sum(v.numel() for k, v in model.items()
                  if not k.endswith(('running_mean', 'running_var', 'num_batches_tracked')))
    size = report['size']
    assert size['parameters'] == weights and size['flops'] > weights
    assert size['file_bytes'] == os.path.getsize(out / 'end2end.onnx') > 4 * weights
    assert all(abs(one - other) < 0.05 for one, other in report['metric']['values'].values())
    assert 'mIoU' in report['metric']['values'] and '2 samples' in report['metric']['on']
    assert set(report['latency']['seconds']) == {'PyTorch', 'onnxruntime'}
    assert report['latency']['threads'] == 1 and min(report['latency']['seconds'].values()) > 0


def test_an_exported_student_dynamic_and_openly_named(project, here, tmp_path):
    image = draw(tmp_path / 'image.png', (48, 80))
    here.run('deploy.py', 'student.py', 'student.pth', '--out', tmp_path / 'out', '--deploy-cfg',
             DYNAMIC, '--input', image, cwd=project)
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert report['metric'] is None and report['parity']['samples'] == 2
    assert 'another size' in report['parity']['source']


@pytest.mark.parametrize(('args', 'words'), [
    (['student.py', 'teacher.pth'], 'does not hold exactly the model'),
    (['distill.py', 'teacher.pth'], 'It holds the teacher'),
    (['student.py', 'nothing.pth'], "'nothing.pth' does not exist"),
    (['nothing.py', 'student.pth'], "'nothing.py' does not exist"),
    (['student.py', 'student.pth', '--deploy-cfg', 'segmentation_onnxruntime-statik'],
     f'did you mean {STATIC!r}'),
    (['student.py', 'student.pth', '--deploy-cfg', 'other_task.py'], f'take {DYNAMIC}, {STATIC}'),
    (['student.py', 'student.pth', '--deploy-cfg', 'student.py'], 'is no deploy config'),
    (['student.py', 'student.pth', '--input', 'nothing.png'], "'nothing.png' does not exist"),
    (['student.py', 'student.pth', '--input', 'student.py'], 'cannot be read as an input'),
    (['student.py', 'student.pth', '--input', 'big.png', '--deploy-cfg', 'of_64x32.py'],
     '40 x 72 (height x width) as the network gets it, and a static export takes 32 x 64 alone'),
    (['classifier.py', 'classifier.pth'], 'ImageClassifier is of no family that can be exported')])
def test_refusals(project, here, tmp_path, args, words):
    base = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), 'configs',
                        'deploy', f'{STATIC}.py')
    (project / 'other_task.py').write_text(
        f"_base_ = {base!r}\ncodebase_config = dict(type='mmdet', task='ObjectDetection')\n")
    (project / 'of_64x32.py').write_text(
        f'_base_ = {base!r}\nonnx_config = dict(input_shape=[64, 32])\n')
    draw(project / 'big.png', (40, 72))
    (project / 'some_classifier.py').write_text(CLASSIFIER)
    (project / 'classifier.py').write_text(
        "custom_imports = dict(imports=['some_classifier'])\n"
        "model = dict(type='ImageClassifier', data_preprocessor=dict(type='ImgDataPreprocessor'))\n"
        'test_pipeline = []\n')
    torch.save(dict(state_dict=dict(weight=torch.zeros(1))), project / 'classifier.pth')
    out = tmp_path / 'out'
    message = here.fails('deploy.py', *args, '--out', out, cwd=project)
    assert words.lower() in message.lower()
    assert left(tmp_path) == []


CLASSIFIER = """
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS

@MODELS.register_module(force=True)
class ImageClassifier(BaseModel):
    def __init__(self, **kwargs):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs
"""


def test_what_pytorch_does_not_compute_is_not_written(project, here, tmp_path, monkeypatch):
    from mmkd.deploy import command as tool
    original = tool.export_onnx

    def export_another(cfg, weights, *args):
        state = torch.load(weights)
        state['state_dict']['decode_head.conv_seg.bias'][2] += 50
        torch.save(state, weights)
        return original(cfg, weights, *args)

    out = tmp_path / 'out'
    out.mkdir()
    (out / 'end2end.onnx').write_text('an earlier export')
    monkeypatch.setattr(tool, 'export_onnx', export_another)
    message = here.fails('deploy.py', 'student.py', 'student.pth', '--out', out, cwd=project)
    assert 'does not compute what PyTorch does' in message and 'limit is at most' in message
    assert left(tmp_path) == ['out'] and left(out) == ['end2end.onnx']
    assert (out / 'end2end.onnx').read_text() == 'an earlier export'


@pytest.mark.parametrize('out', ['/proc/out', 'student.py', 'student.py/out'])
def test_a_folder_that_cannot_be_written(project, here, out):
    message = here.fails('deploy.py', 'student.py', 'student.pth', '--out', out, cwd=project)
    assert out in message and '--out' in message


def test_a_full_disk(project, tmp_path):
    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        command('deploy.py', 'student.py', 'student.pth', '--out', tmp_path / 'out'), cwd=project,
        env=environment(), text=True, capture_output=True, preexec_fn=no_room, check=False)
    assert done.returncode == 1 and 'no room for the export' in message_of(done.stderr)
    assert left(tmp_path) == []


def test_without_mmdeploy(project, tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(
        'import importlib.util as u\nfind = u.find_spec\n'
        "u.find_spec = lambda name, *a: None if name == 'mmdeploy' else find(name, *a)\n")
    done = subprocess.run(command('deploy.py', 'student.py', 'student.pth'), cwd=project, text=True,
                          env=environment(PYTHONPATH=os.pathsep.join(
                              [str(tmp_path), os.environ.get('PYTHONPATH', '')])),
                          capture_output=True, check=False)
    message = message_of(done.stderr)
    assert done.returncode == 1 and 'mmdeploy is not installed' in message
    assert "pip install -e '.[deploy]'" in message


def test_the_demo_has_not_run(here, tmp_path):
    message = here.fails('deploy.py', '--demo', cwd=tmp_path)
    assert 'make demo' in message and 'work_dirs/demo/cwd/seed0' in message


def test_the_list(here, tmp_path):
    out, _ = here.run('deploy.py', '--list', cwd=tmp_path)
    assert {STATIC, DYNAMIC} <= set(out.split())
    done = subprocess.run([sys.executable, *command('deploy.py')[1:], 'only_a_config.py'],
                          text=True, capture_output=True, env=environment(), check=False)
    assert done.returncode == 2 and 'give CONFIG and CHECKPOINT' in done.stderr
