"""The student alone and the taught student see the same pictures, augmented alike, bit for bit."""
import hashlib
import random

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from torch.utils.data import get_worker_info

from mmkd.apis import build_model, build_runner
from tests.helpers import TinyScenes, runner_config, tiny_distiller, tiny_segmentor


@DATASETS.register_module()
class AugmentedScenes(TinyScenes):
    """Draws from the generators that mmcv's and mmseg's transforms draw from, in workers from
    torch's as well (in the process itself, dropout and random masks draw from that, too)."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        noise = random.randrange(9) + torch.from_numpy(np.random.randint(0, 9, (3, 32, 32)))
        if get_worker_info() is not None:
            noise += torch.randint(0, 9, noise.shape)
        sample['inputs'] = (sample['inputs'] // 2 + noise).to(torch.uint8)
        return sample


class Pictures(Hook):
    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append([hashlib.sha256(x.numpy().tobytes()).hexdigest() for x in (
            *data_batch['inputs'], *(s.gt_sem_seg.data for s in data_batch['data_samples']))])


@pytest.mark.parametrize('workers', [0, 2])
def test_teaching_changes_no_batch(tmp_path, workers):
    seen = {}
    models = dict(alone=tiny_segmentor(), kd=tiny_distiller('kd'), mgd=tiny_distiller('mgd'),
                  other_seed=tiny_segmentor())
    for name, model in models.items():
        cfg = runner_config(model, tmp_path / name, iters=3, custom_hooks=[],
                            experiment_name=f'batches_{name}_{workers}')
        cfg.train_dataloader.update(num_workers=workers)
        cfg.train_dataloader.dataset.type = 'AugmentedScenes'
        cfg.randomness = dict(seed=1 if name == 'other_seed' else 0)
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        runner = build_runner(cfg, build_model(cfg))
        runner.register_hook(pictures := Pictures())
        runner.train()
        seen[name] = pictures.seen
    assert seen['kd'] == seen['alone'] and len(seen['alone']) == 3
    assert seen['mgd'] == seen['alone']
    assert seen['other_seed'] != seen['alone']
