"""Rotated boxes on a map of 128 x 128 cells, 200 boxes a sample; ``scale`` times 4 samples."""
import torch

from mmkd.ops.bev_masks import _footprints, _positions, bev_mask_reference, boxes_to_bev_mask

from . import Case

BOXES, SAMPLES, CELLS = 200, 4, 128
RANGE = (-51.2, -51.2, -5., 51.2, 51.2, 3.)


def traffic(count, seed=0):
    """(count, 7) boxes with the sizes of cars, trucks and pedestrians."""
    g = torch.Generator().manual_seed(seed)
    kinds = torch.tensor([[4.6, 1.9, 1.7], [8., 2.6, 3.], [.7, .7, 1.8]])
    size = kinds[torch.randint(3, (count,), generator=g)]
    size = size * (.8 + .4 * torch.rand(count, 3, generator=g))
    where = (torch.rand(count, 3, generator=g) - .5) * torch.tensor([100., 100., 2.])
    return torch.cat([where, size, 6.3 * torch.rand(count, 1, generator=g)], 1)


def with_points_in_boxes(boxes, samples):
    """mmcv's CPU test of every cell against every box, as BEV distillation code calls it."""
    try:
        from mmcv.ops import points_in_boxes_cpu
    except ImportError:
        return None
    step = (RANGE[3] - RANGE[0]) / CELLS
    centers = torch.arange(CELLS) * step + RANGE[0] + step / 2
    y, x = torch.meshgrid(centers, centers, indexing='ij')
    points = torch.stack([x, y, torch.full_like(x, .5)], -1).view(1, -1, 3)
    points = points.expand(samples, -1, -1).contiguous()
    flat = boxes.cpu().view(samples, BOXES, 7).clone()
    flat[..., 2], flat[..., 5] = 0, 1

    def run():
        inside = points_in_boxes_cpu(points, flat).bool()
        first = inside.int().argmax(2)
        return torch.where(inside.any(2), first, -1).view(samples, CELLS, CELLS).to(boxes.device)
    return run


def cases(device, scale):
    samples = SAMPLES * scale
    boxes = traffic(BOXES * samples).to(device)
    batch_index = torch.arange(samples, device=device).repeat_interleave(BOXES)
    labels = torch.arange(len(boxes), device=device) % 10
    size = f'{samples} x {BOXES} boxes, {CELLS} x {CELLS} cells'
    positions = [_positions(RANGE[i], RANGE[i + 3], CELLS, .5, boxes) for i in range(2)]

    def ours():
        return boxes_to_bev_mask(boxes, RANGE, (CELLS, CELLS), batch_index, samples, labels=labels)

    def vectorised():
        return bev_mask_reference(_footprints(boxes, None), batch_index, *positions, samples)
    moved = samples * CELLS * CELLS * 8
    return [Case('boxes_to_bev_mask', size, ours, with_points_in_boxes(boxes, samples),
                 'mmcv points_in_boxes_cpu of all cells', .02, moved),
            Case('boxes_to_bev_mask', size, ours, vectorised, 'PyTorch, all boxes at once', None,
                 moved, grows=False)]
