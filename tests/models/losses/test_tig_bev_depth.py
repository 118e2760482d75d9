"""TiG-BEV's depth: which pixels belong to which object, and what is compared within it."""
import math

import numpy as np
import pytest
import torch

from mmkd.models.bev.geometry import camera_matrices
from mmkd.models.losses.bev import TiGBEVDepthLoss
from mmkd.models.losses.bev.tig_bev_depth import box_of_points

from .test_tig_bev import box

BINS = (1., 5., 1.)


def test_points_lie_in_the_first_box_that_has_them():
    boxes = torch.tensor([box(0., 0., 4., 1., math.pi / 2), box(0., 1., 2., 2.)])
    points = torch.tensor(
        [[0., 1.9, .5], [0., 1.5, .5], [.9, 1., .5], [1.9, 0., .5], [0., 0., 1.1]])
    assert box_of_points(points, boxes).tolist() == [1, 1, 2, 0, 0]
    assert box_of_points(points, boxes[:0]).tolist() == [0] * 5
    assert box_of_points(points[:0], boxes).shape == (0,)


def test_points_are_looked_at_in_parts(monkeypatch):
    """Against the definition, box by box; parts of one point, of some, and one for all."""
    generator = torch.Generator().manual_seed(0)
    points = 6 * torch.rand(300, 3, generator=generator) - 2
    boxes = torch.tensor([box(x, y, 3., 2., x) for x in (0., 1., 2.) for y in (0., 2.)])
    boxes[:, 5] = 3
    expected = torch.zeros(300, dtype=torch.int64)
    for k in reversed(range(len(boxes))):
        x, y, z = (points - boxes[k, :3]).unbind(1)
        turned = torch.polar(torch.ones(()), -boxes[k, 6]) * torch.complex(x, y)
        inside = (turned.real.abs() <= 1.5) & (turned.imag.abs() <= 1) & (z >= 0) & (z <= 3)
        expected[inside] = k + 1
    assert len(expected.unique()) == 7
    for count in (1, 60, 10 ** 6):
        monkeypatch.setattr('mmkd.models.losses.bev.tig_bev_depth.AT_ONCE', (count, count))
        assert box_of_points(points, boxes).equal(expected)


def camera(size=(32, 64)):
    """A camera at the origin that looks along x; images of 32 x 64, focal length 32."""
    pose = np.eye(4)
    pose[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    return dict(cam2img=[np.array([[32., 0, size[1] / 2 - .5], [0, 32., size[0] / 2 - .5],
                                   [0, 0, 1.]])],
                lidar2cam=[pose], img_aug_matrix=[np.eye(4)], lidar_aug_matrix=np.eye(4))


def test_a_pixel_shows_the_object_of_its_nearest_point_in_a_box():
    """At 4 m, y = 2 is 16 pixels left of the middle: column 1 of cells of 16 pixels."""
    boxes = torch.tensor([box(4., 1.9, 2., 1.), box(2., -1., 1., 1.)])
    points = torch.tensor([[4., 1.9, .1], [4.4, 1.9, .1], [2., -1., .1], [1.2, -.6, .1],
                           [-3., 1., .1], [4., 1.9, 9.]])
    loss = TiGBEVDepthLoss(BINS)
    objects, depth = loss.foreground([points], [boxes], camera_matrices([camera()]), (32, 64),
                                     torch.zeros(1, 4, 2, 4))
    assert objects.tolist() == [[[[0, 1, 0, 2], [0, 0, 0, 0]]]]
    torch.testing.assert_close(depth[0, 0, 0], torch.tensor([0., 4., 0., 2.], dtype=depth.dtype))


def written_out(probability, objects, depth):
    """The loss, object by object."""
    expected = (probability * torch.arange(1., 5.)[:, None, None]).sum(1)
    total, count = 0., 0
    for image, mine, true in zip(expected, objects.flatten(0, 1), depth.flatten(0, 1), strict=True):
        for k in set(mine[mine > 0].tolist()):
            e, d = image[mine == k], true[mine == k]
            best = (e - d).abs().argmin()
            total = total + ((e - e[best].detach()) - (d - d[best])).square().sum()
            count += len(e)
    return total / max(count, 1)


def scene(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 4, 3, 5, generator=generator)
    objects = torch.randint(0, 4, (2, 2, 3, 5), generator=generator)
    return logits, objects, 1 + 4 * torch.rand(2, 2, 3, 5, generator=generator)


@pytest.mark.parametrize('seed', range(3))
def test_depth_is_compared_within_each_object_of_each_image(seed):
    logits, objects, depth = scene(seed)
    logits.requires_grad_()
    ours = TiGBEVDepthLoss(BINS).compare(logits.softmax(1), objects, depth)
    theirs = written_out(logits.softmax(1), objects, depth)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits),
                    strict=True):
        torch.testing.assert_close(a, b)


def test_of_ties_the_first_pixel_counts():
    logits, objects, depth = scene()
    logits[:], objects[:], depth[:] = logits[:1, :, :1, :1], 1, 3.
    depth[0, 0, 0, :2] = torch.tensor([3., 9.])
    torch.testing.assert_close(TiGBEVDepthLoss(BINS).compare(logits.softmax(1), objects, depth),
                               written_out(logits.softmax(1), objects, depth))


def test_no_object_is_zero_and_large_numbers_of_objects_are_fine():
    logits, objects, depth = scene()
    logits.requires_grad_()
    value = TiGBEVDepthLoss(BINS).compare(logits.softmax(1), objects * 0, depth * math.nan)
    value.backward()
    assert value == 0 and not logits.grad.any()
    one, other = (TiGBEVDepthLoss(BINS).compare(logits.softmax(1), number, depth)
                  for number in (objects, objects * 1000))
    assert one == other


@pytest.mark.parametrize('shape, message', [
    ((1, 5, 2, 4), r'are 4 bins'), ((4, 2, 4), r'are 4 bins'), ((3, 4, 2, 4), 'of 2 samples')])
def test_depth_of_another_model_is_refused(shape, message):
    metas = [camera()] * (2 if shape[0] == 3 else 1)
    with pytest.raises(ValueError, match=message):
        TiGBEVDepthLoss(BINS)(torch.zeros(shape), None, [], [], metas, {})


def test_the_whole_of_a_batch():
    points = torch.tensor([[3., 0., .1], [3.2, .9, .1], [3., .4, .1]])
    boxes = torch.tensor([box(3., 0., 2., 2.)])
    images = dict(imgs=torch.zeros(2, 1, 3, 32, 64))
    logits = torch.randn(2, 4, 2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.half)
    logits.requires_grad_()
    for everyone in ([boxes, boxes[:0]], [boxes, boxes]):
        value = TiGBEVDepthLoss(BINS)(logits.softmax(1), None, [points, points[:0]], everyone,
                                      [camera()] * 2, images)
        value.backward()
        assert value > 0 and value.dtype == torch.float32
        assert logits.grad[0].any() and not logits.grad[1].any()
