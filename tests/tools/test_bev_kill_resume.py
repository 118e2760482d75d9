"""kill -9 while LiDAR teaches cameras, and resume: the weights of an uninterrupted run."""
import time

import pytest

from tests.bev_project import distill_config
from tests.cli import assert_same, run, weights_of
from tests.configs.test_bevdet_configs import innermost
from tests.engine.test_kill_resume import SLOW, train_and_kill, wait_for
from tests.helpers import terms_of

pytestmark = pytest.mark.slow


def test_kill_and_resume_ends_in_the_same_weights(tmp_path):
    """With the augmentations of images and scene, and a connector with a norm."""
    cfg = distill_config(tmp_path, terms_of('bevdistill'))
    cfg.train_dataloader.dataset = innermost(cfg.train_dataloader.dataset)
    cfg.train_dataloader.batch_size = 1
    cfg.train_cfg.max_epochs = 2
    cfg.randomness = dict(seed=0)
    cfg.custom_hooks, cfg.custom_imports = [dict(type='Slow')], dict(imports=['slow'])
    (tmp_path / 'distill.py').write_text(cfg.pretty_text)
    (tmp_path / 'slow.py').write_text(SLOW)
    there = dict(cwd=tmp_path, PYTHONPATH=str(tmp_path))
    run('train.py', 'distill.py', '--work-dir', 'straight', **there)

    def saved(log, process):
        wait_for(log, r'Saving checkpoint at 1 epochs', process)
        while not (tmp_path / 'killed' / 'epoch_1.pth').is_file():  # it appears when it is whole
            assert process.poll() is None
            time.sleep(0.1)

    train_and_kill(tmp_path, 'distill.py', '3', saved, 1)  # then the second epoch has begun
    assert (tmp_path / 'killed' / 'epoch_1.pth').is_file()
    assert not (tmp_path / 'killed' / 'epoch_2.pth').exists()
    done = run('train.py', 'distill.py', '--work-dir', 'killed', '--resume', **there)
    assert 'epoch_1.pth' in done.stdout
    a, b = (weights_of(tmp_path / name / 'epoch_2.pth') for name in ('straight', 'killed'))
    assert any(key.startswith('distiller.') for key in a['state_dict'])
    for part in ('state_dict', 'optimizer', 'param_schedulers', 'random_state'):
        assert_same(a[part], b[part], part)
