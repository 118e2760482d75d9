"""What people try first: init_model with the distill config and a checkpoint of its training."""
import json
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model

from tests.cli import environment
from tests.helpers import build, make_batch, save_teacher, tiny_distiller, tiny_segmentor

SCRIPT = """
import json, sys
import torch
from mmseg.apis import init_model
model = init_model(sys.argv[1], sys.argv[2], device='cpu')
print(json.dumps(dict(
    type=type(model).__name__, classes=model.dataset_meta['classes'],
    state={key: value.double().sum().item() for key, value in model.state_dict().items()})))
"""


@pytest.fixture
def trained(tmp_path):
    """A distill config with a teacher's weights that are gone, and a checkpoint."""
    config, weights = save_teacher(tmp_path)
    cfg = Config(dict(model=tiny_distiller('mgd', teacher=config, checkpoint=weights)))
    model = build(cfg.model, seed=3)
    torch.save(dict(meta=dict(dataset_meta=dict(classes=('a', 'b', 'c', 'd'))),
                    state_dict=model.state_dict()), tmp_path / 'iter_8.pth')
    Config(dict(default_scope='mmseg', model=tiny_distiller(
        'mgd', teacher=config, checkpoint='gone.pth'))).dump(str(tmp_path / 'distill.py'))
    return tmp_path, model


def test_init_model_gives_the_student(trained):
    folder, distiller = trained
    model = init_model(str(folder / 'distill.py'), str(folder / 'iter_8.pth'), device='cpu')
    assert type(model) is type(distiller.student)
    with torch.no_grad():
        ours, theirs = (one.eval().test_step(make_batch()) for one in (model, distiller))
    assert all(torch.equal(a.seg_logits.data, b.seg_logits.data)
               for a, b in zip(ours, theirs, strict=True))


def test_init_model_in_a_process_that_has_not_imported_mmkd(trained):
    folder, distiller = trained
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, folder / 'distill.py', folder / 'iter_8.pth'], cwd=folder,
        env=environment(), text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer['type'] == 'EncoderDecoder' and answer['classes'] == list('abcd')
    assert answer['state'] == {key: value.double().sum().item()
                               for key, value in distiller.student.state_dict().items()}


def test_training_needs_its_teacher():
    """Only init_model's None means inference."""
    cfg = tiny_distiller('kd', tiny_segmentor())
    with pytest.raises(ValueError, match='train_cfg'):
        build(dict(cfg, train_cfg=dict(x=1)))
