"""A segmentor that has learned its pictures: 8 bits are judged on one that is sure of something."""
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope

from mmkd.datasets.drawn import write_cityscapes
from tests.cli import CLASSES, CONFIG
from tests.helpers import build, tiny_segmentor

PICTURES = 6


def write_trained_segmentor(folder, iterations=60, head='FCNHead', **model):
    """Train a narrow segmentor on a few drawn streets; returns (config file, checkpoint file).

    It trains on pictures of 48 x 64 of ``data/leftImg8bit/train``, without augmentation.
    """
    data = write_cityscapes(str(folder / 'data'), train=PICTURES, val=3, width=64, height=48,
                            progress=False)
    model = tiny_segmentor(head, num_classes=CLASSES, dropout=0., **dict(dict(width=16), **model))
    config, weights = folder / 'student.py', folder / 'student.pth'
    config.write_text(CONFIG.format(data=data, model=model))
    cfg = Config.fromfile(config)
    dataset = dict(cfg.train_dataloader.dataset, pipeline=cfg.test_pipeline)
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(dataset)
    network = build(model).train()
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    samples = [dataset[i] for i in range(PICTURES)]
    for _ in range(iterations):
        batch = network.data_preprocessor(pseudo_collate(samples), True)
        losses = network.loss(batch['inputs'], batch['data_samples'])
        optimizer.zero_grad()
        losses['decode.loss_ce'].backward()
        optimizer.step()
    torch.save(dict(state_dict=network.state_dict()), weights)
    return str(config), str(weights)
