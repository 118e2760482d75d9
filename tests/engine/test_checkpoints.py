"""What a training checkpoint holds, and who can load it."""
import json
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from tests.engine.common import runner_of, train
from tests.helpers import make_batch, runner_config, tiny_distiller, tiny_segmentor

FRESH = """
import json, sys
import torch
from mmengine.config import Config
from mmseg.apis import init_model
config, checkpoint, inputs, output = sys.argv[1:]
model = init_model(Config.fromfile(config), checkpoint, device='cpu')
missing, extra = model.load_state_dict(torch.load(checkpoint)['state_dict'], strict=False)
with torch.no_grad():
    result = model.test_step(torch.load(inputs, weights_only=False))
torch.save([r.seg_logits.data for r in result], output)
json.dump(dict(missing=missing, extra=extra, mmkd='mmkd' in sys.modules), sys.stdout)
"""


def test_stock_mmseg_loads_the_training_checkpoint(tmp_path):
    student = tiny_segmentor()
    runner, _ = train(runner_config(tiny_distiller('mgd', student), tmp_path))
    Config(dict(default_scope='mmseg', model=student, test_dataloader=dict(dataset=dict()))).dump(
        str(tmp_path / 'student.py'))
    data = make_batch()
    torch.save(data, tmp_path / 'inputs.pt')
    (tmp_path / 'fresh.py').write_text(FRESH)
    names = ['student.py', 'iter_4.pth', 'inputs.pt', 'logits.pt']
    done = subprocess.run([sys.executable, 'fresh.py', *names], cwd=tmp_path, text=True,
                          capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer['missing'] == [] and answer['mmkd'] is False
    assert answer['extra'] and all(key.startswith('distiller.') for key in answer['extra'])
    runner.model.eval()
    with torch.no_grad():
        expected = runner.model.test_step(make_batch())
    for ours, theirs in zip(expected, torch.load(tmp_path / 'logits.pt'), strict=True):
        assert torch.equal(ours.seg_logits.data, theirs)


def test_a_checkpoint_is_plain_data(tmp_path):
    train(runner_config(tiny_distiller('kd'), tmp_path))
    saved = torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    assert {'meta', 'state_dict', 'optimizer', 'param_schedulers', 'message_hub',
            'random_state'} <= set(saved)
    assert saved['meta']['dataset_meta']['classes'] == tuple(f'class_{i}' for i in range(4))
    assert not list(tmp_path.rglob('*.partial'))


@pytest.mark.parametrize('save_best', [None, 'mIoU'])
def test_max_keep_ckpts(tmp_path, save_best):
    cfg = runner_config(tiny_distiller('kd'), tmp_path)
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1, save_best=save_best)
    cfg.train_cfg.val_interval = 1
    seen = []

    class Watch(Hook):
        """What is on the disk while a checkpoint is being written."""
        priority = 'LOWEST'

        def before_save_checkpoint(self, runner, checkpoint):
            seen.append(len(list(tmp_path.glob('iter_*.pth'))))

    runner, _ = runner_of(cfg)
    runner.register_hook(Watch())
    runner.train()
    assert [p.name for p in tmp_path.glob('iter_*.pth')] == ['iter_4.pth']
    assert len(list(tmp_path.glob('best_*.pth'))) == (save_best is not None)
    assert min(seen[1:]) >= 1  # a kill here would find a whole checkpoint
