"""What the adapters of detection methods read from a case: pyramids, boxes, the batch."""
import re

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

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
