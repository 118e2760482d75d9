"""Detectors and instance segmentors of mmdet: each box as in PyTorch, for images of any size."""
import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmkd.deploy.detectors import best_boxes
from mmkd.deploy.tasks import TASKS
from tests.deploy.detectors import DetectorPair
from tests.detectors import small_detector

META = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
ROI = ['rpn_head.rpn_cls', 'roi_head.bbox_head.fc_cls']
FINALS = dict(
    retinanet=['bbox_head.retina_cls'], gfl=['bbox_head.gfl_cls'],
    atss=['bbox_head.atss_cls', 'bbox_head.atss_centerness'],
    fcos=['bbox_head.conv_cls', 'bbox_head.conv_centerness'], faster=ROI, mask=ROI)


def picture(path, height, width, seed):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return str(path)


def config(kind, scale, keep_ratio=True):
    pipeline = [dict(type='LoadImageFromFile'),
                dict(type='Resize', scale=scale, keep_ratio=keep_ratio),
                dict(type='PackDetInputs', meta_keys=META)]
    return Config(dict(default_scope='mmdet', model=small_detector(kind), test_pipeline=pipeline))


def task_of(kind):
    return 'instance-segmentation' if kind == 'mask' else 'detection'


def make(kind, folder, scales, keep_ratio=True, **options):
    """A pair compared on pictures of other shapes, resized in several ways: most need padding."""
    files = [picture(folder / f'{i}.png', *size, i)
             for i, size in enumerate(((144, 192), (150, 131), (100, 233)))]
    task = TASKS[task_of(kind)]
    items = [task.read(config(kind, scale, keep_ratio), file)
             for scale in scales for file in files]
    options.setdefault('bias', 0. if kind in ('faster', 'mask') else -3.)
    cfg = config(kind, scales[0], keep_ratio)
    return DetectorPair(cfg, task.name, folder, items, FINALS[kind], **options)


@pytest.mark.parametrize('kind', FINALS)
def test_boxes_are_those_of_pytorch_for_any_size(kind, tmp_path):
    make(kind, tmp_path, [(200, 144), (320, 200)],
         ending='_onnxruntime-dynamic').assert_same()


def test_proposals_of_tiny_scores_are_used_too(tmp_path):
    """ONNX Runtime's Sigmoid is 0 below -18, and PyTorch's is not."""
    make('faster', tmp_path, [(200, 144)], ending='_onnxruntime-dynamic', bias=-25.).assert_same()


def test_a_static_export_has_one_size(tmp_path):
    make('mask', tmp_path, [(160, 128)], keep_ratio=False, ending='_onnxruntime-static',
         size=(160, 128)).assert_same()


def test_what_cannot_be_exported_is_refused():
    boxes, scores = torch.rand(1, 5, 4), torch.rand(1, 5)
    with pytest.raises(NotImplementedError, match="'soft_nms' cannot be exported"):
        best_boxes(boxes, scores, torch.zeros(5), scores > 0, dict(type='soft_nms'), 5)
