"""Exporting small models with random weights: shared by the tests of mmkd.deploy."""
import cv2
import numpy as np
import torch
from mmengine.config import Config

from mmkd.deploy.export import Exported, export_onnx, read_deploy_config
from tests.helpers import build, random_bn


def draw(path, size):
    """An image file of ``size`` (height, width), and its path."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST))
    return str(path)


def segmentor_config(model):
    """The Config of a segmentor that takes images as they are."""
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    return Config(dict(default_scope='mmseg', model=model, test_pipeline=pipeline))


@torch.no_grad()
def scale_logits(segmentor):
    """Draw a classifier whose logits differ (a fresh one's hardly do) and reach about 1.

    Random weights may give logits of 100, where PyTorch itself is 1e-4 away from float64.
    """
    weight = segmentor.decode_head.conv_seg.weight
    torch.nn.init.normal_(weight)
    inputs = torch.randn(1, 3, 64, 96)
    weight /= segmentor.encode_decode(inputs, [dict(img_shape=(64, 96))]).abs().max()


def save_weights(model_cfg, path, seed=0):
    """Weights as after training in a file, and its path."""
    model = random_bn(build(model_cfg, seed), seed)
    for module in model.modules():  # a last norm that starts at zero hides its block
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    if hasattr(model, 'decode_head'):
        scale_logits(model.eval())
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


class Pair:
    """A model of random weights exported into ``folder``, beside PyTorch's.

    Args:
        cfg (Config): Of the model, with ``test_pipeline``.
        deploy_cfg (str): Name of the deploy config.
        sample: What the task's ``create_input`` takes, for the export.
        changes: Values of the deploy config, by dotted keys.

    Attributes:
        pytorch (nn.Module): PyTorch's model.
        exported (Exported): The exported one.
    """

    def __init__(self, cfg, deploy_cfg, folder, sample, changes=None):
        deploy_cfg = read_deploy_config(deploy_cfg)
        deploy_cfg.merge_from_dict(changes or {})
        weights = save_weights(cfg.model, folder / 'weights.pth')
        path = export_onnx(cfg, weights, deploy_cfg, sample, str(folder))
        self.exported = Exported(cfg, deploy_cfg, path, str(folder))
        self.pytorch = self.exported.task.build_pytorch_model(weights)
