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


def rounded_toward_zero(boxes, area, size):
    """Boxes (K, 7 or more) whose center is below the map, at lower x or y, are moved a cell up: the
    official code rounds the cell of a center toward zero, mmkd down.

    Args:
        boxes: x, y, z, dx, dy, dz, yaw.
        area: (x_min, y_min, x_max, y_max) of the map, metres.
        size: (Y, X) cells of the map.
    """
    low, high = boxes.new_tensor(area).split(2)
    cell = (high - low) / boxes.new_tensor([size[1], size[0]])
    places = (boxes[:, :2] - low) / cell
    centers = torch.where(places < 0, low + (places.trunc() + .5) * cell, boxes[:, :2])
    return torch.cat([centers, boxes[:, 2:]], 1)
