"""How much boxes overlap: (..., 4) xyxy against (..., 4), shapes that broadcast."""
import torch


def intersection(one, other):
    """Area that both cover; boxes that are turned inside out cover nothing together."""
    low = torch.maximum(one[..., :2], other[..., :2])
    high = torch.minimum(one[..., 2:], other[..., 2:])
    return (high - low).clamp(min=0).prod(-1)


def area(boxes):
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou(one, other, eps=1e-6):
    """Intersection over union, which is taken to be at least ``eps``."""
    common = intersection(one, other)
    return common / (area(one) + area(other) - common).clamp(min=eps)


def hull(one, other):
    """Width and height of the smallest box around both, (..., 2)."""
    low = torch.minimum(one[..., :2], other[..., :2])
    return (torch.maximum(one[..., 2:], other[..., 2:]) - low).clamp(min=0)


def giou(one, other, eps=1e-6):
    """IoU minus the share of the hull that neither covers; -1 to 1."""
    common = intersection(one, other)
    union = (area(one) + area(other) - common).clamp(min=eps)
    around = hull(one, other).prod(-1).clamp(min=eps)
    return common / union - (around - union) / around


def centre_distance(one, other, eps=1e-6):
    """Squared distance of the centres, over the squared diagonal of the hull."""
    apart = (one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    return apart.square().sum(-1) / (hull(one, other).square().sum(-1) + eps)
