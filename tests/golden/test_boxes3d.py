"""Boxes of mmdet3d before 1.0: the same corners and the same front."""
import math

import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes

from .boxes3d import from_old


@pytest.mark.parametrize('yaw', [0., .3, math.pi / 2, 2.5, -1., -math.pi])
def test_corners_and_front_stay(yaw):
    x, y, z, w, length, h = 3., -7., -1., 1.8, 4.4, 1.5
    old = torch.tensor([[x, y, z, w, length, h, yaw, .5, -.2]], dtype=torch.float64)
    boxes = LiDARInstance3DBoxes(from_old(old).float(), box_dim=9)
    # as mmdet3d 0.x: w along x, l along y, turned clockwise by yaw; z is the bottom
    cos, sin = math.cos(yaw), math.sin(yaw)
    corners = torch.tensor([[x + a * cos + b * sin, y - a * sin + b * cos, z + up]
                            for a in (-w / 2, w / 2) for b in (-length / 2, length / 2)
                            for up in (0., h)])
    gaps = torch.cdist(corners, boxes.corners[0])
    assert gaps.amin(0).max() < 1e-5 and gaps.amin(1).max() < 1e-5
    # its front is where -y points at yaw 0; today's is dx
    front = torch.tensor([x - length / 2 * sin, y - length / 2 * cos])
    torch.testing.assert_close(boxes.corners[0, 4:, :2].mean(0), front, rtol=0, atol=1e-5)
    assert torch.equal(boxes.tensor[0, 7:], old[0, 7:].float())
