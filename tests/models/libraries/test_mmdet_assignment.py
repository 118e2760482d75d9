"""Label assignment against what mmdet's own heads train with."""
import copy
from unittest import mock

import pytest
import torch
from mmdet.models.utils import unpack_gt_instances
from torch import nn

from tests.dense_heads import (
    BOXES,
    HEADS,
    build_head,
    pyramid,
    samples,
    sizes_of,
)
from tests.models.libraries.test_mmdet_heads import AWKWARD, EMPTY, view


def trained(head, batch, features):
    """What the head's own loss passes to its losses: name -> list of (arguments, keywords)."""
    truth, ignored, metas = unpack_gt_instances(batch)
    if type(head).__name__ == 'RPNHead':
        for item in truth:
            item.labels = torch.zeros_like(item.labels)
    seen = {}

    def spy(name, module):
        plain = module.forward

        def forward(*args, **kwargs):
            seen.setdefault(name, []).append((args, kwargs))
            return plain(*args, **kwargs)
        return mock.patch.object(module, 'forward', forward)

    with spy('cls', head.loss_cls), spy('bbox', head.loss_bbox), \
            spy('centerness', getattr(head, 'loss_centerness', nn.Identity())):
        head.loss_by_feat(*head(features), truth, metas, ignored)
    return seen


@pytest.mark.parametrize('boxes', [BOXES, EMPTY, (BOXES[0], []), AWKWARD],
                         ids=['ordinary', 'no box', 'no box in one', 'awkward'])
@pytest.mark.parametrize('name', HEADS)
def test_assignment_is_what_the_head_trains_with(name, boxes):
    head, features, batch = build_head(name), pyramid(), samples(boxes)
    torch.manual_seed(3)
    seen = trained(head, copy.deepcopy(batch), features)
    torch.manual_seed(3)  # an RPN draws its samples
    ours = view(head).assign(sizes_of(features), batch)
    labels, weights, factors = [], [], []
    for args, kwargs in seen['cls']:
        label = args[1][0] if isinstance(args[1], tuple) else args[1]
        labels.append(label)
        weights.append(args[2] if len(args) > 2 else kwargs.get('weight'))
        factors.append(float(kwargs['avg_factor']))
    assert torch.equal(torch.cat([level.flatten() for level in ours.labels]), torch.cat(labels))
    ours_weights = torch.cat([level.flatten() for level in ours.label_weights])
    expected = (torch.ones_like(ours_weights) if weights[0] is None else torch.cat(weights))
    assert torch.equal(ours_weights, expected)
    assert set(factors) == {float(ours.normaliser)} and ours.normaliser.dtype == torch.float32
    if name == 'FCOSHead' and 'bbox' in seen:
        assert float(ours.box_normaliser) == float(seen['bbox'][0][1]['avg_factor'])
    else:
        assert ours.box_normaliser is None or float(ours.box_normaliser) == pytest.approx(1e-6)
    if ours.centerness_targets is not None:
        found = torch.cat([value[label < 5] for value, label in
                           zip(ours.centerness_targets, ours.labels, strict=True)])
        theirs = [args[1] for args, _ in seen.get('centerness', [])]
        assert torch.equal(found, torch.cat(theirs)) if theirs else not len(found)


@pytest.mark.parametrize('name', HEADS)
def test_box_targets_are_the_boxes_of_positives_in_pixels(name):
    head, batch = build_head(name), samples()
    ours = view(head).assign([(8, 8), (4, 4), (2, 2)], batch)
    count = 0
    for labels, targets in zip(ours.labels, ours.box_targets, strict=True):
        assert targets.shape == (*labels.shape, 4)
        for i, sample in enumerate(batch):
            truth = sample.gt_instances.bboxes
            positive = labels[i] < head.num_classes
            assert not targets[i][~positive].any()
            found, of_label = targets[i][positive], labels[i][positive]
            if name == 'RPNHead':  # which object is not told
                of_label = (found[:, None] - truth).abs().sum(-1).argmin(1)
            torch.testing.assert_close(found, truth[of_label], rtol=1e-4, atol=1e-3)
            count += len(found)
    assert count > 4


def test_anchors_outside_the_image_are_not_learned():
    batch = samples(size=(64, 32), padded=(64, 32))
    ours = view(build_head('GFLHead')).assign([(8, 8), (4, 4), (2, 2)], batch)
    weights = ours.label_weights[0].reshape(2, 8, 8)
    assert weights[:, :, :4].all() and not weights[:, :, 4:].any()


def test_a_batch_is_assigned_once_for_the_same_sizes():
    head = view(build_head('ATSSHead')).bind(samples())
    first = head.assign([(8, 8), (4, 4), (2, 2)])
    assert head.assign([torch.Size([8, 8]), (4, 4), [2, 2]]) is first
    assert head.assign([(4, 4), (2, 2), (1, 1)]) is not first
    with pytest.raises(ValueError, match='assign needs the batch'):
        view(build_head('ATSSHead')).assign([(8, 8), (4, 4), (2, 2)])


def test_the_draws_of_an_rpn_do_not_disturb_those_of_the_training():
    head = view(build_head('RPNHead'))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = head.assign([(8, 8), (4, 4), (2, 2)], samples())
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(6)
    other = head.assign([(8, 8), (4, 4), (2, 2)], samples())
    assert not torch.equal(first.label_weights[0], other.label_weights[0]), 'it does draw'
