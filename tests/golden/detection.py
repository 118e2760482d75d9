"""What the adapters of detection methods read from a case: pyramids, boxes, the batch."""
import re

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from mmkd.models.libraries.mmdet_heads import dense_head
from tests.golden.files import CaseError


def pyramid(case, name):
    """The inputs ``name_0``, ``name_1``, ... as a list, finest level first."""
    levels = sorted(int(found[1]) for key in case.inputs
                    if (found := re.fullmatch(rf'{re.escape(name)}_(\d+)', key)))
    if not levels or levels != list(range(len(levels))):
        raise CaseError(f'{case.name}: the inputs {name}_0, {name}_1, ... are needed without '
                        f'gaps; there are levels {levels}')
    return [case.inputs[f'{name}_{level}'] for level in levels]


def boxes(case):
    """The ground truth: list of N boxes (n, 4), xyxy in pixels, and of N labels (n,), int64,
    zeros where no labels are recorded."""
    found = ([], [])
    for i in range(sum(key.startswith('gt_bboxes_') for key in case.inputs)):
        found[0].append(case.input(f'gt_bboxes_{i}').detach().reshape(-1, 4))
        labels = case.inputs.get(f'gt_labels_{i}', torch.zeros(len(found[0][-1])))
        found[1].append(labels.detach().reshape(-1).long())
    return found


def data_samples(case, images):
    """The batch as mmdet has it: ``images`` samples of the recorded size, not padded further."""
    size = tuple(int(side) for side in case.input('img_shape').reshape(-1)[:2])
    samples = []
    for box, label in zip(*boxes(case), strict=True):
        sample = DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size,
                                             batch_input_shape=size))
        sample.gt_instances = InstanceData(bboxes=box, labels=label)
        samples.append(sample)
    if len(samples) != images:
        raise CaseError(f'{case.name}: boxes of {len(samples)} image(s), maps of {images}')
    return samples


def per_level(name, values):
    """``{name_0: ..., name_1: ...}``, as outputs of an Outcome."""
    return {f'{name}_{level}': torch.as_tensor(value) for level, value in enumerate(values)}


def head_view(head):
    """The DenseHead of one of mmdet's heads."""
    owner = nn.Module()
    owner.bbox_head = head
    return dense_head(owner)


def weight_and(case, name, cfg, kind, **known):
    """``loss_weight`` of an official loss of that ``kind``, and the arguments in ``known``.

    Raises:
        CaseError: if it is of another kind or has other arguments.
    """
    cfg = dict(cfg)
    if cfg.pop('type') not in (kind if isinstance(kind, tuple) else (kind,)):
        raise CaseError(f'{case.name}: {name} is no {kind}')
    values = {key: cfg.pop(key, default) for key, default in dict(loss_weight=1., **known).items()}
    if cfg:
        raise CaseError(f'{case.name}: {name} has unknown arguments {", ".join(cfg)}')
    return values.values()


def switched_off(case, *names):
    """Raises CaseError unless the official losses ``names`` of the case have weight 0."""
    for name in names:
        if case.args.get(name, {}).get('loss_weight', 0):
            raise CaseError(f'{case.name}: {name} is no part of the method here; its weight must '
                            'be 0')
