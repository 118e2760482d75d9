"""Losses on maps seen from above do not wait for a device in their forward pass."""
import pytest
import torch

import mmkd.models.losses.bev as bev
from tests.models.losses.test_tig_bev_depth import camera
from tests.ops.test_host_reads import reads

BOXES = [torch.tensor([[3., 0., 0., 2., 2., 1., .3], [-2., 5., 0., 1., 2., 1., 1.]]),
         torch.zeros(0, 7)]
RANGE = (-4., -8., 4., 8.)
CHANNELS = dict(student_channels=3, teacher_channels=3)


def maps(channels=3):
    return (torch.randn(2, channels, 16, 8, requires_grad=True), torch.randn(2, channels, 16, 8))


def heads(**widths):
    return [{name: side[i] for name, side in
             ((name, maps(width)) for name, width in widths.items())} for i in range(2)]


def listed(sides):
    return [{name: [x] for name, x in side.items()} for side in sides]


CALLS = dict(
    dense=lambda: bev.BEVDistillDenseLoss()(*maps(), BOXES, RANGE),
    relation=lambda: bev.BEVDistillRelationLoss(mid_channels=4, num_points=5, **CHANNELS)(
        dict(bev=maps()[0], heatmap=[maps(2)[0]], reg=[maps(10)[0]]), dict(bev=maps()[1])),
    keypoints=lambda: sum(bev.TiGBEVLoss(3, **CHANNELS)(*maps(), BOXES, RANGE).values()),
    depth=lambda: bev.TiGBEVDepthLoss((1., 5., 1.))(
        torch.rand(2, 4, 2, 4, requires_grad=True), None, [5 * torch.rand(50, 4)] * 2, BOXES,
        [camera()] * 2, dict(imgs=torch.zeros(2, 1, 3, 32, 64))),
    feature=lambda: bev.CMKDFeatureLoss(use_nonzero_mask=True)(*maps()),
    anchors=lambda: sum(bev.CMKDAnchorLoss()(*heads(cls=6, box_reg=14, dir_cls=4)).values()),
    centers=lambda: sum(bev.CMKDCenterLoss()(*listed(heads(heatmap=2, reg=10))).values()),
    heatmap=lambda: bev.FD3DHeatmapLoss()(*maps(), [torch.rand(2, 2, 16, 8)]),
    lengths=lambda: bev.FSDBEVLoss()(*maps()))


@pytest.mark.parametrize('name', CALLS)
def test_nothing_is_read(name, monkeypatch):
    monkeypatch.setattr(  # which is for CPU tensors alone
        'mmkd.models.losses.bev.tig_bev_depth.of_boxes', lambda points, owner: (points, owner))
    made = CALLS[name]()  # what is made once is made now
    assert torch.isfinite(made) and made.requires_grad
    # torch.from_numpy: the cameras' matrices, which stay on the CPU; torch.tensor: a literal
    seen = [what for what in reads(CALLS[name]) if what not in ('from_numpy', 'tensor')]
    assert not seen
