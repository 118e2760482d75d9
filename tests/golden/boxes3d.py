"""Boxes as mmdet3d before 1.0 had them, which most reference cases of 3D methods were made with."""
import math

import torch


def from_old(boxes):
    """Boxes (K, 7 or more) x, y, z, w, l, h, yaw clockwise in the frame of today: x, y, z, dx, dy,
    dz, yaw; what follows stays."""
    boxes = boxes.detach()
    return torch.cat([boxes[:, :3], boxes[:, [4, 3, 5]], -boxes[:, 6:7] - math.pi / 2,
                      boxes[:, 7:]], 1)


def per_sample(boxes, sample, count):
    """Boxes (K, D) whose sample is ``sample`` (K,), as a list with the boxes of each."""
    return [boxes[sample == i] for i in range(count)]
