"""Networks that have learned their pictures: 8 bits are judged on one that is sure of something."""
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from torch.nn.modules.batchnorm import _BatchNorm

from mmkd.datasets.drawn import write_cityscapes
from tests.cli import CLASSES, CONFIG
from tests.detection_project import write_detection_project
from tests.helpers import build, tiny_segmentor

PICTURES = 6


def learn(cfg, dataset, iterations, weights, rate=2e-3):
    """Train the model of a config on a whole data set at once; writes its weights to a file.

    Args:
        cfg (Config): With the model, and the scope that the data set is built in.
        dataset (dict): Without augmentation.
        iterations (int): Steps of Adam.
        weights (Path): The file.
        rate (float): The steps' size.
    """
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(dataset)
    samples = [dataset[i] for i in range(len(dataset))]
    network = build(cfg.model).train()
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.momentum = .1  # mmdet3d's .01 would leave the statistics where they began
    optimizer = torch.optim.Adam(network.parameters(), rate)
    for _ in range(iterations):
        batch = network.data_preprocessor(pseudo_collate(samples), True)
        loss, _ = network.parse_losses(network.loss(batch['inputs'], batch['data_samples']))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10)
        optimizer.step()
    torch.save(dict(state_dict=network.state_dict()), weights)


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
    learn(cfg, dict(cfg.train_dataloader.dataset, pipeline=cfg.test_pipeline), iterations, weights)
    return str(config), str(weights)


def write_trained_detector(folder, kind='gfl', pictures=4, iterations=150):
    """Train a small detector on a few drawn scenes; returns (config file, checkpoint file).

    It is validated on the pictures that it has learned, of 64 x 96.
    """
    project = write_detection_project(folder, train=pictures, kind=kind)
    config, weights = project / 'student.py', project / 'student.pth'
    config.write_text(config.read_text().replace('val2017', 'train2017'))
    cfg = Config.fromfile(config)
    learn(cfg, cfg.val_dataloader.dataset, iterations, weights)
    return str(config), str(weights)
