"""A random batch for a detector of mmdet, with all that its losses ask for."""
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData
from torch import nn

from ._tables import pairs_of

#: image sizes (H, W) to try in the dry run: levels of stride 128 must differ from those of 64
SIZES = ((256, 256), (320, 320), (512, 512), (640, 640))


def num_classes(model):
    """Of the head that names classes; None where no head says it."""
    heads = [getattr(model, name, None) for name in
             ('roi_head', 'bbox_head', 'panoptic_head', 'mask_head', 'rpn_head')]
    for head in heads:
        for part in (getattr(head, 'bbox_head', None), head):
            part = part[0] if isinstance(part, nn.ModuleList) and len(part) else part
            if isinstance(getattr(part, 'num_classes', None), int):
                return part.num_classes
    return None


def input_channels(model):
    """Numbers of image channels to try, the likeliest first: what is normalised, 3, and last
    what the first convolution takes, which may see slices of the image (YOLOX)."""
    stem = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    mean = getattr(model.data_preprocessor, 'mean', None)
    numbers = [None if mean is None else len(mean), 3, stem]
    return list(dict.fromkeys(n for n in numbers if n is not None))


def input_sizes(model):
    """Image sizes (H, W) that a part of the model says it is made for."""
    return pairs_of(getattr(module, 'img_size', None) for module in model.modules())


def make_batch(model, size, channels=None):
    """Two images (2, 3, H, W) with three random boxes each, masks where it learns masks, and what
    else its data preprocessor or data set gives it."""
    height, width = size
    if hasattr(model, 'semi_train_cfg'):
        raise ValueError(f'{type(model).__name__} trains on several batches at once, with labels '
                         'and without; distil the detector that it is made of')
    inputs = torch.randn(2, channels or input_channels(model)[0], *size)
    samples = bare_samples(inputs)
    classes = num_classes(model) or 1
    semantic = [module.num_classes for name, module in model.named_modules()
                if name.endswith('semantic_head') and hasattr(module, 'num_classes')]
    for sample in samples:
        corners = torch.rand(3, 2) * 0.5
        boxes = torch.cat([corners, corners + 0.15 + torch.rand(3, 2) * 0.35], 1)
        boxes *= torch.tensor([width, height, width, height])
        masks = np.zeros((3, height, width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=torch.randint(0, max(classes, 1), (3,)))
        if _learns_masks(model):
            sample.gt_instances.masks = BitmapMasks(masks, height, width)
        if hasattr(model.data_preprocessor, 'pairwise_size'):  # BoxInst's: similar neighbours
            near, stride = model.data_preprocessor.pairwise_size ** 2 - 1, \
                model.data_preprocessor.mask_stride
            sample.gt_instances.pairwise_masks = torch.ones(
                3, near, height // stride, width // stride)
        if not getattr(model, 'with_rpn', True):  # Fast R-CNN is given its proposals
            corners = torch.rand(20, 2) * 0.9 * torch.tensor([width, height])
            proposals = torch.cat([boxes, torch.cat([corners, corners + 8], 1)])
            sample.proposals = InstanceData(bboxes=proposals, scores=torch.rand(23))
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0).long())
        stuff = torch.randint(0, max(min([classes, *semantic]), 1), (1, height, width))
        sample.gt_sem_seg = PixelData(sem_seg=stuff)
    return inputs, samples


def settle(model):
    """Give Sparse R-CNN's first proposals, which are weights, a size; a random start does not."""
    proposals = getattr(model, 'rpn_head', None)
    if hasattr(proposals, 'init_proposal_bboxes'):
        proposals.init_weights()


def _learns_masks(model):
    return model.with_mask or hasattr(model, 'panoptic_head') or any(
        'mask' in name for name, _ in getattr(model, 'bbox_head', model).named_children())


def bare_samples(images):
    """Samples of a batch (N, C, H, W), or of a list of images, that know nothing but the size."""
    sizes = [tuple(image.shape[-2:]) for image in images]
    frame = tuple(max(side) for side in zip(*sizes, strict=True))
    return [DetDataSample(metainfo=dict(
        img_id=i, img_shape=size, ori_shape=size, pad_shape=frame, batch_input_shape=frame,
        scale_factor=(1., 1.), flip=False, flip_direction=None)) for i, size in enumerate(sizes)]
