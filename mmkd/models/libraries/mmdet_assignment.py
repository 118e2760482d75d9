"""Which prior learns which box: the label assignment that a dense head of mmdet trains with."""
from typing import NamedTuple

import torch
from mmdet.models.utils import unpack_gt_instances
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData

from ..losses.boxes import positives
from .mmdet_families import decode

TARGETS = ('get_targets', '_get_targets_single', 'get_anchors', 'centerness_target')


class Assignment(NamedTuple):
    """Targets of a batch of N images; lists have one item per level.

    Attributes:
        labels: (N, H*W*A) int64, the class, or num_classes for background.
        label_weights: (N, H*W*A), 0 where neither class nor background is learned: outside the
            image, or too close to call.
        normaliser: scalar, what the head divides its classification loss by, averaged over
            processes if the head does that.
        box_normaliser: scalar, FCOS's other one, for its box loss: the sum of the centerness
            targets, averaged over processes, at least 1e-6; None of other heads.
        box_targets: (N, H*W*A, 4), the box of each positive, xyxy in pixels; 0 elsewhere.
        centerness_targets: (N, H*W*A), 0 where not positive; None if the head has none.
    """
    labels: list
    label_weights: list
    normaliser: torch.Tensor
    box_normaliser: torch.Tensor | None
    box_targets: list
    centerness_targets: list | None


@torch.no_grad()
def assign(head, family, sizes, data_samples):
    """The Assignment of a batch by mmdet's ``head`` of that Family, on maps of ``sizes`` (H, W).

    Raises:
        ValueError: if the head assigns in another way than its family, or boxes are missing.
    """
    changed = family.changed(head, *TARGETS)
    points = family.kind == 'points'
    if changed or not (points or hasattr(head, 'assigner')):
        why = f'it has its own {", ".join(changed)}' if changed else (
            'it has no assigner: its config has no train_cfg, or it assigns within its loss')
        raise ValueError(f'{type(head).__name__} assigns labels in another way than '
                         f'{family.head.__name__} ({why}), which is not known here. Use a '
                         'detector with that head, or a method that needs no assignment')
    missing = [i for i, sample in enumerate(data_samples) if 'gt_instances' not in sample]
    if missing:
        raise ValueError(f'samples {missing} of the batch have no boxes (gt_instances), which '
                         'the assignment of labels needs: does the train pipeline load '
                         'annotations with_bbox=True?')
    truth, ignored, metas = unpack_gt_instances(data_samples)
    if not family.towers:  # an RPN tells objects from background, whatever they are
        truth = [InstanceData(bboxes=item.bboxes, labels=torch.zeros_like(item.labels))
                 for item in truth]
    device = next(head.parameters()).device
    if points:
        return by_points(head, sizes, truth, device)
    with torch.random.fork_rng(devices=[]):  # the draws of the student's own sampler stay its own
        return by_anchors(head, family, sizes, truth, ignored, metas, device)


def by_anchors(head, family, sizes, truth, ignored, metas, device):
    """By IoU with anchors: RetinaNet, ATSS, GFL, RPN."""
    anchors, valid = head.get_anchors(sizes, metas, device=device)
    levels = anchors[0]
    targets = head.get_targets(anchors, valid, truth, metas, batch_gt_instances_ignore=ignored)
    averaged = len(targets) == 6  # ATSS and GFL give the anchors, too
    labels, weights, boxes, _, count = targets[-5:]
    normaliser = torch.tensor(count, dtype=torch.float, device=device)
    if averaged:
        normaliser = reduce_mean(normaliser)
    if family.kind == 'anchors' and not head.reg_decoded_bbox:
        boxes = [decode(head, level, deltas) for level, deltas in zip(levels, boxes, strict=True)]
    positive = [positives(level, head.num_classes) for level in labels]
    boxes = [box * mask[..., None] for box, mask in zip(boxes, positive, strict=True)]
    centerness = None
    if family.centerness:
        centerness = [box.new_zeros(box.shape[:2]) for box in boxes]
        for level, box, mask, value in zip(levels, boxes, positive, centerness, strict=True):
            value[mask] = head.centerness_target(level.expand_as(box)[mask], box[mask])
    return Assignment(labels, weights, normaliser, None, boxes, centerness)


def by_points(head, sizes, truth, device):
    """By the points within a box: FCOS."""
    points = head.prior_generator.grid_priors(sizes, device=device)
    labels, distances = head.get_targets(points, truth)
    labels = [level.reshape(len(truth), -1) for level in labels]
    boxes, centerness = [], []
    for level, priors, distance, stride in zip(labels, points, distances, head.strides,
                                               strict=True):
        mask, distance = positives(level, head.num_classes), distance.reshape(*level.shape, 4)
        value = distance.new_zeros(mask.shape)
        value[mask] = head.centerness_target(distance[mask])
        centerness.append(value)
        distance = distance * stride if head.norm_on_bbox else distance
        boxes.append(decode(head, priors, distance) * mask[..., None])
    count = sum(positives(level, head.num_classes).sum() for level in labels)
    total = sum(value.sum() for value in centerness)
    return Assignment(labels, [torch.ones_like(value) for value in centerness],
                      reduce_mean(count.float()).clamp(min=1),
                      reduce_mean(total).clamp(min=1e-6), boxes, centerness)
