"""Depth networks, targets and loss."""
import math

import pytest
import torch
import torch.nn.functional as F

from mmkd.models.bev import DepthNet, LSSViewTransformer
from mmkd.models.bev.depth import depth_bin_of, depth_loss, describe_cameras, number_of_bins
from tests.models.bev.rigs import CELL, RANGE, SIZE, augmented, cameras_of, rig

BINS = (1., 5., 1.)


def test_bins_by_hand():
    depth = torch.tensor([0., .99, 1., 1.99, 2., 4.99, 5., 60., float('nan'), float('inf')])
    assert depth_bin_of(depth, BINS).tolist() == [-1, -1, 0, 0, 1, 3, -1, -1, -1, -1]
    assert number_of_bins((1., 60., 1.)) == 59
    assert number_of_bins((2., 58., .5)) == 112


def test_loss_by_hand():
    # two pixels with depth, one without: bins 1 and 3; probabilities by softmax
    logits = torch.tensor([[.5, 1.5, -1., 0.], [0., 0., 0., math.log(3.)], [9., 9., 9., 9.]])
    depth = torch.tensor([[[[2.5, 4., 0.]]]])
    p = logits.softmax(1)
    expected = 0.
    for row, true in ((0, 1), (1, 3)):
        for i in range(4):
            expected -= math.log(p[row, i] if i == true else 1 - p[row, i])
    loss = depth_loss(logits.T[None, None, :, None], depth, BINS)
    assert loss.item() == pytest.approx(expected / 2, rel=1e-6)


def test_loss_is_torchs_binary_cross_entropy():
    logits = torch.randn(2, 3, 7, 4, 5, dtype=torch.float64, requires_grad=True)
    depth = torch.rand(2, 3, 4, 5) * 10
    bins = depth_bin_of(depth, (1., 8., 1.))
    rows = logits.movedim(2, -1)[bins >= 0].softmax(-1)
    expected = F.binary_cross_entropy(rows, F.one_hot(bins[bins >= 0], 7).double(),
                                      reduction='sum') / len(rows)
    grad, = torch.autograd.grad(expected, logits, retain_graph=True)
    loss = depth_loss(logits, depth, (1., 8., 1.))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0], grad)


@pytest.mark.parametrize('scale', [1., 1e3, 1e4])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_loss_and_gradient_are_finite(scale, dtype):
    logits = (torch.randn(1, 2, 4, 3, 3) * scale).to(dtype).requires_grad_()
    loss = depth_loss(logits, torch.rand(1, 2, 3, 3) * 5, BINS)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all() and logits.grad.any()


def test_an_empty_sweep_gives_zero_with_a_graph():
    logits = torch.randn(1, 2, 4, 3, 3, requires_grad=True)
    loss = depth_loss(logits, torch.zeros(1, 2, 3, 3), BINS)
    loss.backward()
    assert loss.item() == 0. and not logits.grad.any()


def test_maps_of_another_stride_are_refused():
    with pytest.raises(ValueError, match='stride'):
        depth_loss(torch.randn(1, 2, 4, 3, 3), torch.zeros(1, 2, 6, 6), BINS)


@pytest.mark.parametrize('dcn', [False, True])
def test_the_network_knows_the_camera(dcn):
    """The same picture through another camera has another depth."""
    torch.manual_seed(0)
    net = DepthNet(5, 3, 7, mid_channels=8, dcn=dcn).eval()
    features = torch.randn(1, 5, 4, 11).expand(6, -1, -1, -1)
    numbers = describe_cameras(cameras_of(augmented(rig())), SIZE).flatten(0, 1)
    assert numbers.shape == (6, 27)
    depth, context = net(features, numbers)
    assert depth.shape == (6, 7, 4, 11) and context.shape == (6, 3, 4, 11)
    for out in (depth, context):
        assert (out[1:] - out[:1]).abs().amax((1, 2, 3)).min() > 0


def test_a_single_camera_trains():
    net = DepthNet(5, 3, 7, mid_channels=8, dcn=False)
    depth, context = net(torch.randn(1, 5, 4, 11),
                         describe_cameras(cameras_of(rig(1)), SIZE).flatten(0, 1))
    (depth.sum() + context.sum()).backward()


def test_every_part_of_the_augmentation_is_told():
    plain = describe_cameras(cameras_of(rig()), SIZE)
    other = describe_cameras(cameras_of(augmented(rig())), SIZE)
    changed = (plain != other).any(1)[0]
    assert changed[[4, 7, 8, 9, 10, 13, 14]].all()  # 2 x 2 and shift of the image, BEV
    assert not changed[:4].any() and not changed[15:].any()  # intrinsics, pose
    assert other.abs().max() < 20


def test_supervision_asks_for_the_maps():
    view = LSSViewTransformer(5, 3, CELL, RANGE, depth_supervision=dict(weight=3.))
    with pytest.raises(ValueError, match='PointsToDepthMaps'):
        view.loss(torch.randn(1, 6, 59, 4, 11), [dict()])
    assert LSSViewTransformer(5, 3, CELL, RANGE).loss(None, []) == {}
    maps = dict(gt_depth_maps=torch.rand(6, 4, 11) * 60)
    logits = torch.randn(1, 6, 59, 4, 11)
    assert view.loss(logits, [maps])['loss_depth'].item() == pytest.approx(
        3 * depth_loss(logits, maps['gt_depth_maps'][None], (1., 60., 1.)).item())
