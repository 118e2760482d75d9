"""export_student.py and browse_taps.py, run as a user runs them."""
import glob
import hashlib
import json
import re
import subprocess
import sys

import pytest
import torch

from tests.cli import ROOT, environment, run, weights_of, write_project


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A data set, configs, and one short training (``trained/``)."""
    folder = write_project(tmp_path_factory.mktemp('export'))
    run('train.py', 'distill.py', '--work-dir', 'trained', '--cfg-options',
        'train_cfg.max_iters=2', cwd=folder)
    return folder


STOCK = """
import json, sys, torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
config, checkpoint, image, output = sys.argv[1:]
model = init_model(Config.fromfile(config), checkpoint, device='cpu')
missing, extra = model.load_state_dict(torch.load(checkpoint)['state_dict'], strict=False)
torch.save(inference_model(model, image).seg_logits.data, output)
print(json.dumps(dict(keys=missing + extra, mmkd='mmkd' in sys.modules)))
"""


def stock_logits(folder, config, checkpoint, image):
    """What stock mmseg predicts in a fresh process, without mmkd."""
    done = subprocess.run(
        [sys.executable, '-c', STOCK, config, checkpoint, image, f'{folder}/logits.pt'],
        cwd=folder, env=environment(), text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return torch.load(f'{folder}/logits.pt'), json.loads(done.stdout.splitlines()[-1])


def test_export(project, tmp_path):
    done = run('export_student.py', 'distill.py', 'trained/iter_2.pth', '--out', tmp_path,
               cwd=project)
    (weights,), (config,) = (glob.glob(f'{tmp_path}/*.{end}') for end in ('pth', 'py'))
    sha = hashlib.sha256(open(weights, 'rb').read()).hexdigest()
    assert weights.endswith(f'-{sha[:8]}.pth') and sha in done.stdout
    assert 'mmkd' not in open(config).read().replace(str(project), '').replace(ROOT, '')
    trained = weights_of(project / 'trained' / 'iter_2.pth')['state_dict']
    exported = weights_of(weights)
    assert set(exported['state_dict']) == {k for k in trained if not k.startswith('distiller.')}
    assert 'optimizer' not in exported and len(exported['meta']['dataset_meta']['classes']) == 19

    image = sorted(glob.glob(f'{project}/data/leftImg8bit/val/*/*.png'))[0]
    ours, state = stock_logits(tmp_path, config, weights, image)
    assert state == dict(keys=[], mmkd=False)
    straight, state = stock_logits(tmp_path, str(project / 'student.py'),
                                   str(project / 'trained' / 'iter_2.pth'), image)
    assert torch.equal(ours, straight) and not state['mmkd']
    assert state['keys'] and all(key.startswith('distiller.') for key in state['keys'])


def test_export_refuses_another_checkpoint(project, here, tmp_path):
    message = here.fails('export_student.py', 'distill.py', 'teacher.pth', '--out', tmp_path,
                         cwd=project)
    assert 'does not hold exactly the student of this config' in message
    student = weights_of(project / 'trained' / 'iter_2.pth')['state_dict']
    wide = {k: v for k, v in student.items() if not k.startswith('distiller.')}
    wide['decode_head.conv_seg.weight'] = torch.zeros(7, 8, 1, 1)
    torch.save(dict(state_dict=wide), tmp_path / 'wide.pth')
    assert 'decode_head.conv_seg.weight' in here.fails(
        'export_student.py', 'distill.py', tmp_path / 'wide.pth', cwd=project)
    assert not glob.glob(f'{tmp_path}/student*')


def test_browse_taps(project, here, tmp_path):
    zoo = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
    for config, shapes in ((zoo, dict(logits='19 x 8 x 8', head='128 x 8 x 8',
                                      backbone='512 x 8 x 8', context='128 x 8 x 8',
                                      backbone_pre_relu='512 x 8 x 8', aux_logits='19 x 8 x 8')),
                           (project / 'distill.py', dict(logits='19 x 8 x 8'))):
        out, _ = here.run('browse_taps.py', config, cwd=tmp_path)
        for name, shape in shapes.items():
            assert re.search(rf'^  {name} +{shape} +stride 8', out, re.MULTILINE), out
    out, _ = here.run('browse_taps.py', project / 'student.py', '--match', 'layer4', '--depth', 2,
                      cwd=tmp_path)
    assert re.search(r'^  backbone.layer4 +64 x 8 x 8', out, re.MULTILINE)
    assert 'layer4.0' not in out.partition('modules')[2]
    assert 'decode_head' not in out.partition('modules')[2]


