"""What losses are given besides maps, made for maps of any size: labels, boxes, heads, heatmaps."""
from typing import NamedTuple

import torch

CLASSES = 3


def labels_for(n, h, w):
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, CLASSES, (n, h, w), generator=generator)
    labels[:, 0, :] = 255
    return dict(labels=labels)


def nothing_for(n, h, w):
    return {}


class Head(NamedTuple):
    """A detector's head: places in the middle of cells, two anchors at each, and boxes that are
    what its regression map says. A tuple, so that it can be compared."""
    strides: tuple = (2, 4, 8, 16, 1)
    num_classes: int = CLASSES

    def points(self, sizes):
        return [(torch.cartesian_prod(torch.arange(h), torch.arange(w)).flip(1) + .5) * stride
                for stride, (h, w) in zip(self.strides, sizes, strict=False)]

    def anchors(self, sizes):
        return [(points[:, None].repeat(1, 2, 2) + stride * torch.tensor(
            [[-1., -1., 1., 1.], [-3., -1., 3., 1.]])).reshape(-1, 4)
            for stride, points in zip(self.strides, self.points(sizes), strict=False)]

    def decode(self, reg):
        sizes = [x.shape[2:] for x in reg]
        return [points.repeat(1, 2) + x.permute(0, 2, 3, 1).flatten(1, 2)
                for x, points in zip(reg, self.points(sizes), strict=True)]


def boxes_for(n, h, w):
    """Two objects in the first image, one in each other one."""
    several = torch.tensor([[0., 0., .7, .6], [.4, .3, 1., 1.]]) * torch.tensor([w, h, w, h])
    return dict(boxes=[several if i == 0 else several[1:] for i in range(n)],
                padded_size=(h, w))


def sized_boxes_for(n, h, w):
    """The same; the first image is smaller than the batch."""
    sizes = [(max(h - 2, 1), max(w - 1, 1)) if i == 0 else (h, w) for i in range(n)]
    return dict(boxes_for(n, h, w), image_sizes=sizes)


def boxes_3d_for(n, h, w):
    """Two objects in the first sample, one in each other one, on a map of w x h metres."""
    several = torch.tensor([[.2, .3, 0., .3, .2, 1., .5], [.7, .6, 0., .2, .4, 1., 2.]])
    several = several * torch.tensor([w, h, 1., w, h, 1., 1.])
    return dict(boxes_3d=[several if i == 0 else several[1:] for i in range(n)],
                bev_range=(0., 0., float(w), float(h)))


def gt_heatmaps_for(n, h, w):
    generator = torch.Generator().manual_seed(4)
    return dict(gt_heatmaps=[torch.rand(n, k, h, w, generator=generator) for k in (2, 1)])


def anchors_for(n, h, w):
    return dict(boxes_for(n, h, w), student_head=Head())


def predictions_for(n, h, w):
    return dict(boxes=boxes_for(n, h, w)['boxes'], teacher_head=Head(),
                box_labels=[torch.tensor([0, 2][:2 - min(i, 1)]) for i in range(n)])


def with_predictions(x):
    """A map as a tap of several: itself and, of its size, what a teacher predicts."""
    if x.dim() != 4:
        return dict(feature=[x], cls=[], reg=[])
    generator, (n, _, h, w) = torch.Generator().manual_seed(3), x.shape
    reg = 3 * torch.rand(n, 4, h, w, generator=generator)
    reg[:, :2] *= -1
    return dict(feature=[x], cls=[torch.randn(n, CLASSES, h, w, generator=generator)], reg=[reg])


def with_heatmaps(x):
    """A map as a tap of several: itself and, of its size, what two tasks of a CenterHead give."""
    if x.dim() != 4:
        return dict(bev=x, heatmap=[], reg=[])
    generator, (n, _, h, w) = torch.Generator().manual_seed(3), x.shape
    return dict(bev=x, heatmap=[torch.randn(n, k, h, w, generator=generator) for k in (2, 1)],
                reg=[torch.rand(n, 10, h, w, generator=generator) for _ in range(2)])
