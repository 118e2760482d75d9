"""What losses may ask for of a batch of mmdet3d's detectors."""
import copy

import pytest
import torch

from mmkd.models.extras import Extras
from mmkd.models.libraries import library_of
from tests.detectors3d import TASKS, bev_batch, centerpoint, pointpillars
from tests.helpers import build


def extras_of(model, batch):
    data = model.data_preprocessor(batch, True)
    return Extras(library_of(model).EXTRAS, data['inputs'], data['data_samples'], model,
                  {'t': (model, data['inputs'], data['data_samples'])})


def test_extras():
    model, batch = build(centerpoint()), bev_batch(boxes=3)
    truth = [sample.gt_instances_3d for sample in batch['data_samples']]
    extras = extras_of(model, copy.deepcopy(batch))
    for i, (boxes, labels) in enumerate(zip(extras('boxes_3d'), extras('labels_3d'), strict=True)):
        assert torch.equal(boxes, truth[i].bboxes_3d.tensor) and boxes.shape == (3, 9)
        assert torch.equal(labels, truth[i].labels_3d) and labels.dtype == torch.int64
    assert torch.equal(extras('points')[1], batch['inputs']['points'][1])
    assert extras('teacher_voxels', 't')['coors'].shape[1] == 4
    assert extras('student_head').tasks == extras('teacher_head', 't').tasks == TASKS
    assert extras('student_head').grid_size == (8, 8) and extras.device.type == 'cpu'
    assert extras('metas')[1]['sample_idx'] == 1


@pytest.mark.parametrize('counts', [(3, 1), (0, 4), (0, 0), (60, 1)])
def test_heatmaps_are_those_that_the_head_learns(counts):
    """Also of boxes off the map, of unknown classes, without a size, and of too many boxes."""
    model = build(centerpoint(area=(-8., -12., -3., 8., 12., 1.)))
    batch = bev_batch(boxes=max(counts), area=(-8., -12., -3., 8., 12., 1.))
    for sample, count in zip(batch['data_samples'], counts, strict=True):
        sample.gt_instances_3d = sample.gt_instances_3d[:count]
    boxes = batch['data_samples'][1].gt_instances_3d
    if len(boxes) > 1:
        boxes.bboxes_3d.tensor[0, 0] = 30.
        boxes.bboxes_3d.tensor[1, 3] = 0.
    if counts[0] == 3:
        first = batch['data_samples'][0].gt_instances_3d
        first.labels_3d[0] = -1
        first.bboxes_3d.tensor[1, :2] = torch.tensor([-8.5, -12.9])  # truncated into cell 0
    extras = extras_of(model, batch)
    expected = model.pts_bbox_head.get_targets(
        [sample.gt_instances_3d for sample in batch['data_samples']])[0]
    found = extras('gt_heatmaps')
    assert len(found) == 2 and [x.shape for x in found] == [(2, 2, 12, 8), (2, 1, 12, 8)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert sum(x.sum() for x in found) > 0 or not any(counts)
    for one, other in zip(extras('student_head').targets().heatmaps, expected, strict=True):
        assert torch.equal(one, other)


def test_extras_that_are_not_there():
    pillars = build(pointpillars())
    with pytest.raises(ValueError, match='VoxelNet has Anchor3DHead, but .* CenterHead alone'):
        extras_of(pillars, bev_batch(features=4))('gt_heatmaps')
    batch = bev_batch()
    del batch['data_samples'][1].gt_instances_3d
    with pytest.raises(ValueError, match=r'asks for bboxes_3d, but samples \[1\] have no gt_inst'):
        extras_of(build(centerpoint()), batch)('boxes_3d')


@pytest.mark.parametrize('asked, boxes, place, expected', [
    (['boxes_3d'], 2, None, False), (['gt_heatmaps'], 0, None, True), (['metas'], 0, None, False),
    (['gt_heatmaps'], 2, 50., True), (['student_head'], 2, -8., False)])
def test_batches_that_have_nothing_to_teach(asked, boxes, place, expected):
    model, batch = build(centerpoint()), bev_batch(boxes=boxes)
    for sample in batch['data_samples']:
        if place is not None:
            sample.gt_instances_3d.bboxes_3d.tensor[:, 0] = place
    assert library_of(model).nothing_to_teach(asked, extras_of(model, batch), []) is expected
